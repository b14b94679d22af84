// Few pairs among many are worth more than a look: a row of a block is compared with what its
// models ask for in vectors, in pieces, and a piece is looked at pair by pair where one passes.
#include "kernel_table.hpp"

namespace ovcore::OVCORE_ISA {
namespace {

constexpr std::int64_t piece = 64;

[[gnu::always_inline]] inline double score(const PairScreen& screen, std::int64_t a, std::int64_t b,
                                           std::int64_t joint) {
  return screen.sign * static_cast<double>(joint) - screen.beta[a] * screen.x[b] -
         screen.gamma[a] * screen.y[b];
}

bool passes(const PairScreen& screen, std::int64_t a, std::int64_t b, std::int64_t joint) {
  const double found = score(screen, a, b, joint);
  if (!(found >= screen.alpha[a] - screen.slack)) return false;
  const bool ties =
      found == screen.alpha[a] && (screen.slack == 0 || screen.x[b] == screen.last_x[a]);
  return !(ties && screen.number[b] > screen.last[a]);
}

// Whether some pair of model i with [first, last) may pass; no pair that passes is missed.
bool any_pass(const std::int64_t* joint, std::int64_t i, std::int64_t first, std::int64_t last,
              const PairScreen& screen) {
  const double least = screen.alpha[i] - screen.slack;
  const double beta = screen.beta[i], gamma = screen.gamma[i], x = screen.x[i], y = screen.y[i];
  const double sign = screen.sign, slack = screen.slack;
  const double *const xs = screen.x, *const ys = screen.y;
  const double *const betas = screen.beta, *const gammas = screen.gamma, *alphas = screen.alpha;
  std::int64_t found = 0;
  for (std::int64_t j = first; j < last; ++j) {
    const double count = sign * static_cast<double>(joint[j - first]);
    const bool for_row = count - beta * xs[j] - gamma * ys[j] >= least;
    const bool for_col = count - betas[j] * x - gammas[j] * y >= alphas[j] - slack;
    found |= static_cast<std::int64_t>(for_row | for_col);
  }
  return found != 0;
}

}  // namespace

std::int64_t screen_pairs(MatrixView<const std::int64_t> joint, std::int64_t first_row,
                          std::int64_t first_col, const PairScreen& screen, ScreenedPair* passed) {
  std::int64_t n_passed = 0;
  const std::int64_t end = first_col + joint.cols;
  for (std::int64_t i = first_row; i < first_row + joint.rows; ++i) {
    const std::int64_t* const counts = joint.row(i - first_row);
    for (std::int64_t j = i < first_col ? first_col : i + 1; j < end; j += piece) {
      const std::int64_t last = j + piece < end ? j + piece : end;
      if (!any_pass(counts + (j - first_col), i, j, last, screen)) continue;
      for (std::int64_t k = j; k < last; ++k) {
        const std::int64_t count = counts[k - first_col];
        if (passes(screen, i, k, count) || passes(screen, k, i, count))
          passed[n_passed++] = {i, k, count};
      }
    }
  }
  return n_passed;
}

}  // namespace ovcore::OVCORE_ISA
