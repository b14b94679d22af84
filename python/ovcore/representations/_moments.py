"""Means and covariances of features, streamed in blocks and merged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovcore import _arrays, _inputs
from ovcore._arrays import Array
from ovcore.representations import _products
from ovcore.representations._centering import Centering
from ovcore.representations._features import Features, read_features, side_by_side

__all__ = ["Moments", "covariance"]

_MOST_ROWS = 1 << 14  # that float32 sums run over before they are added up in float64


class Moments:
    """Means of features and sums of products of deviations from them, over the samples seen so far.

    Of one model's features, of several models' side by side, or of one's against another's. Shards
    of samples are added with ``+=``; ``Moments()`` is empty and changes nothing. Each block of
    samples loses a pilot mean before it is multiplied, in the features' own precision by the BLAS
    of their library; blocks and shards are put together in float64 (Chan, Golub and LeVeque, 1979),
    so that a large mean costs no digits.

    Attributes:
        n_samples: N.
        sizes: number of dimensions of each model in the rows of the matrix.
        mean: (D,) float64 in the features' library, like the rest.
        other_mean: (D',) of the columns; the same as ``mean`` where they are the rows.
        comoment: (D, D') sum over samples of (x_i - mean_i) (y_j - other_mean_j).

    >>> import numpy as np
    >>> features = np.random.default_rng(0).standard_normal((100, 3)) + 1000
    >>> whole, parts = Moments.from_features(features), Moments()
    >>> for shard in np.split(features, 4):
    ...     parts += Moments.from_features(shard)
    >>> parts.n_samples, np.allclose(parts.covariance(), whole.covariance(), rtol=1e-12)
    (100, True)
    """

    def __init__(self) -> None:
        self.n_samples = 0
        self.sizes: tuple[int, ...] = ()
        self.mean: Array = None
        self.other_mean: Array = None
        self.comoment: Array = None
        self._is_of_one = True

    @classmethod
    def from_features(
        cls,
        features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        other: Array | Sequence[Array] | None = None,  # (N, D') floating, likewise
        *,
        block_size: int | None = None,
        backend: str | None = None,
        workers: int | None = None,
    ) -> Moments:
        """Moments of all samples of arrays; memory maps are read block by block.

        Args:
            features: rows of the matrix.
            other: its columns; by default the rows again.
            block_size: samples in a block, at most 16,384; by default as many as fit a core's
                cache.
            backend: what removes the means in host memory: "native", "numba" or "reference".
            workers: threads of that; products take those of their library.

        Raises:
            TypeError: element types that are not floating.
            ValueError: shapes other than these; numbers of samples, libraries or devices that
                differ; values that are not finite.
        """
        sides = [read_features(features)]
        if other is not None:
            sides.append(read_features(other, "other"))
        sides = side_by_side(sides, ["features", "other"][: len(sides)])
        size = (
            None
            if block_size is None
            else min(_inputs.at_least_one(block_size, "block_size"), _MOST_ROWS)
        )
        return cls._of(sides, Centering(sides, size, backend, workers))

    @classmethod
    def _of(cls, sides: list[Features], centering: Centering) -> Moments:
        rows, columns = sides[0], sides[-1]
        shape, library = (rows.n_dimensions, columns.n_dimensions), rows.library
        comoment = _arrays.zeros(shape, "float64", library)
        in_float32 = rows.dtype == "float32"
        total = _arrays.zeros(shape, "float32", library) if in_float32 else comoment
        summed = 0
        with _products.full_precision(library), np.errstate(over="ignore", invalid="ignore"):
            for block in centering:
                if in_float32 and summed + len(block[0]) > _MOST_ROWS:
                    comoment += total
                    total[:] = 0
                    summed = 0
                _products.add_product(total, block[0], block[-1], library)
                summed += len(block[0])
            if in_float32:
                comoment += total
            left = centering.left()
            _products.add_outer(comoment, -left[0], left[-1] / rows.n_samples)
            if rows is columns:
                _products.mirror(comoment, library)
            if not np.isfinite(float(comoment.sum())):
                raise ValueError(f"features are too large: their squares overflow {rows.dtype}")
        found = cls()
        found.n_samples, found.sizes, found.comoment = rows.n_samples, rows.sizes, comoment
        found._is_of_one = rows is columns
        found.mean, *others = centering.means()
        found.other_mean = others[0] if others else found.mean
        return found

    @property
    def is_of_one(self) -> bool:
        """Whether rows and columns of the matrix are the same features."""
        return self._is_of_one

    def __iadd__(self, more: Moments) -> Moments:
        if not isinstance(more, Moments):
            return NotImplemented
        if more.n_samples == 0:
            return self
        if self.n_samples == 0:
            self.__dict__.update(more.copy().__dict__)
            return self
        self._refuse_others(more)
        n = self.n_samples + more.n_samples
        step, other_step = more.mean - self.mean, more.other_mean - self.other_mean
        self.comoment += more.comoment
        weight = self.n_samples * more.n_samples / n
        _products.add_outer(self.comoment, weight * step, other_step)
        is_of_one = self.is_of_one
        self.mean = self.mean + step * (more.n_samples / n)
        self.other_mean = (
            self.mean if is_of_one else self.other_mean + other_step * (more.n_samples / n)
        )
        self.n_samples = n
        return self

    def __add__(self, more: Moments) -> Moments:
        if not isinstance(more, Moments):
            return NotImplemented
        total = self.copy()
        total += more
        return total

    def copy(self) -> Moments:
        """Moments of their own, which ``+=`` changes alone."""
        twin = Moments()
        twin.__dict__.update(self.__dict__)
        if self.n_samples:
            twin.comoment = self.comoment + 0.0
        return twin

    def _refuse_others(self, more: Moments) -> None:
        if (self.sizes, tuple(self.comoment.shape)) != (more.sizes, tuple(more.comoment.shape)):
            raise ValueError(
                f"moments of {more.sizes} dimensions, matrix {tuple(more.comoment.shape)}, cannot "
                f"be added to those of {self.sizes}, matrix {tuple(self.comoment.shape)}"
            )
        if self.is_of_one != more.is_of_one:
            raise ValueError("moments of one side cannot be added to those of two")
        mine, theirs = _arrays.library_of(self.mean), _arrays.library_of(more.mean)
        if mine != theirs:
            raise ValueError(f"moments of {theirs} cannot be added to those of {mine}")

    def variance(self, *, ddof: int = 1) -> Array:
        """(D,) variance of each dimension; of one side's moments only."""
        self._refuse_unless_of_one("variance")
        return _arrays.namespace(self._library()).diagonal(self.comoment) / self._divisor(ddof)

    def covariance(self, *, ddof: int = 1) -> Array:
        """(D, D') covariance: comoment / (N - ddof)."""
        return self.comoment / self._divisor(ddof)

    def correlation(self) -> Array:
        """(D, D) covariance of the standardised dimensions; 0 where one of two is constant.

        comoment_ij / sqrt(comoment_ii comoment_jj): symmetric, from -1 to 1, of a dimension with
        itself 1.
        """
        self._refuse_unless_of_one("correlation")
        xp = _arrays.namespace(self._library())
        squares = xp.diagonal(self.comoment)
        scale = xp.sqrt(xp.where(squares > 0, squares, np.inf))
        found = scale[:, None] * scale
        xp.divide(self.comoment, found, out=found)
        for i, square in enumerate(_arrays.as_numpy(squares).tolist()):
            found[i, i] = float(square > 0)
        return xp.clip(found, -1, 1, out=found)  # rounding can pass 1

    def _library(self) -> str:
        return _arrays.library_of(self.comoment)

    def _refuse_unless_of_one(self, what: str) -> None:
        if self.n_samples == 0:
            raise ValueError(f"{what} takes moments of some samples: these are of none")
        if not self.is_of_one:
            raise ValueError(f"{what} takes moments of one side: these are of features and other")

    def _divisor(self, ddof: int) -> int:
        if self.n_samples <= ddof:
            raise ValueError(f"ddof = {ddof} needs more than {ddof} samples, got {self.n_samples}")
        return self.n_samples - ddof

    def __repr__(self) -> str:
        shape = "" if self.comoment is None else f", {' x '.join(map(str, self.comoment.shape))}"
        return f"Moments({self.n_samples} samples{shape})"


def covariance(
    features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    other: Array | Sequence[Array] | None = None,  # (N, D') floating, likewise
    *,
    ddof: int = 1,
    block_size: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> Array:
    """Covariance of dimensions: sum_n (x_ni - mean_i) (y_nj - mean_j) / (N - ddof).

    Streamed: only a block of samples is widened and centred at a time. float64 throughout where any
    of the features are or where it takes milliseconds (up to 2^30 products), otherwise multiplied
    in float32 and summed over at most 16,384 samples before float64 takes over. Measured against
    sqrt(C_ii C_jj), errors are about 1e-14, or a few 1e-7; in float32 up to 1e-5 along the diagonal
    where one value fills half of a dimension, as behind a ReLU, or a few are far from the rest.

    Args:
        features: of one model, or of several side by side.
        other: the columns of the matrix; by default the rows again.
        ddof: what is taken off N; 1 as in numpy.cov.
        block_size: as are those below, see :meth:`Moments.from_features`.
        backend: see there.
        workers: see there.

    Returns:
        (D, D') float64 in the features' library, on their device.

    Raises:
        TypeError: element types that are not floating.
        ValueError: as :meth:`Moments.from_features`; not more than ``ddof`` samples.

    >>> import numpy as np
    >>> covariance(np.array([[1., 2.], [2., 4.], [3., 6.]]))
    array([[1., 2.],
           [2., 4.]])
    """
    found = Moments.from_features(
        features, other, block_size=block_size, backend=backend, workers=workers
    )
    found.comoment /= found._divisor(ddof)
    return found.comoment
