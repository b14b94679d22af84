"""The C++ package: what `cmake --install` puts where, and programs built against that alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import ovcore as ov

ROOT = Path(__file__).parents[1]
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
CMAKE, NINJA = shutil.which("cmake", path=TOOLS), shutil.which("ninja", path=TOOLS)
COMPILER = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)

if CMAKE is None or COMPILER is None:
    pytest.skip("there is no cmake or no C++ compiler", allow_module_level=True)


def cmake(*arguments: object) -> str:
    """What cmake says when it is called so; it must succeed."""
    outcome = subprocess.run(
        [str(CMAKE), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout + outcome.stderr


def configure(source: Path, build: Path, **options: object) -> str:
    generator = [] if NINJA is None else ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}"]
    defined = [f"-D{name}={value}" for name, value in options.items()]
    return cmake("-S", source, "-B", build, *generator, *defined)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package lies after it was installed and moved."""
    folder = tmp_path_factory.mktemp("package")
    build = ROOT / "build" / "cpp-tests"  # what `make test` has built already
    if not (build / "CMakeCache.txt").is_file():
        build = folder / "build"
        configure(ROOT, build, OVCORE_CUDA="OFF")
    cmake("--build", build, "--target", "ovcore_kernels", "--parallel", 2)
    cmake("--install", build, "--prefix", folder / "installed")
    return (folder / "installed").rename(folder / "moved")


def test_the_package_holds_its_library_headers_and_configuration(prefix: Path) -> None:
    found = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()}
    (library,) = (name for name in found if name.endswith("libovcore_kernels.a"))
    lib = library.removesuffix("libovcore_kernels.a")
    assert {name.replace(lib, "lib/", 1) for name in found} == {
        "include/ovcore/kernels.hpp",
        "include/ovcore/matrix_view.hpp",
        "lib/libovcore_kernels.a",
        "lib/cmake/ovcore/ovcoreConfig.cmake",
        "lib/cmake/ovcore/ovcoreConfigVersion.cmake",
        "lib/cmake/ovcore/ovcoreTargets.cmake",
        "lib/cmake/ovcore/ovcoreTargets-release.cmake",
    }


def test_exported_files_name_no_path_and_no_flag(prefix: Path) -> None:
    configuration = sorted(prefix.rglob("*.cmake"))
    assert len(configuration) == 4
    for path in configuration:
        text = path.read_text(encoding="utf-8")
        for private in (str(ROOT), str(prefix.parent), "COMPILE_OPTIONS", "-Wall", "Threads"):
            assert private not in text, (path, private)


def test_the_version_is_that_of_the_python_package(prefix: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (version,) = prefix.rglob("ovcoreConfigVersion.cmake")
    assert f'set(PACKAGE_VERSION "{project["version"]}")' in version.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def program(prefix: Path) -> Path:
    """The example, built against the package alone."""
    build = prefix.parent / "example"
    configure(ROOT / "examples" / "cpp_embedding", build, CMAKE_PREFIX_PATH=prefix)
    cmake("--build", build)
    assert str(ROOT / "cpp") not in (build / "CMakeCache.txt").read_text(encoding="utf-8")
    return build / "error_inconsistency"


@pytest.mark.parametrize("instruction_set", ["", "baseline"])
@pytest.mark.parametrize(("n_models", "n_samples"), [(150, 1000), (64, 64), (2, 1)])
def test_the_example_counts_as_python_does(
    n_models: int,
    n_samples: int,
    instruction_set: str,
    program: Path,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    target = rng.integers(0, 5, n_samples)
    preds = np.where(rng.random((n_models, n_samples)) < 0.6, target, rng.integers(0, 5, n_samples))
    rows = [[n_models, n_samples], target, *preds]
    file = tmp_path / "numbers.txt"
    file.write_text("\n".join(" ".join(map(str, row)) for row in rows))
    outcome = subprocess.run(
        [program, file],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OVCORE_ISA": instruction_set},
    )
    assert instruction_set in outcome.stderr
    header, *lines = outcome.stdout.splitlines()
    assert header == "first second both_wrong inconsistency"
    first, second, both, apart = np.array([line.split() for line in lines]).T
    errors = ov.pack_errors(preds, target)
    pairs = np.triu_indices(n_models, 1)
    np.testing.assert_array_equal((first.astype(int), second.astype(int)), pairs)
    np.testing.assert_array_equal(both.astype(int), ov.pairwise.joint_errors(errors)[pairs])
    np.testing.assert_allclose(
        apart.astype(float), ov.pairwise.error_inconsistency(errors)[pairs], atol=5e-6
    )


def test_the_example_refuses_what_is_no_file_of_numbers(program: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("2 3\n0 1 2\n0 1")
    for arguments in ([], [tmp_path / "none"], [tmp_path / "text"]):
        outcome = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert outcome.returncode == 1
        assert outcome.stderr == "expected a file of numbers\n"


PARENT = """
cmake_minimum_required(VERSION 3.21)
project(parent LANGUAGES CXX)
add_subdirectory({root} ovcore)
add_executable(program {root}/examples/cpp_embedding/main.cpp)
target_link_libraries(program PRIVATE ovcore::kernels)
get_target_property(kernels ovcore::kernels ALIASED_TARGET)
get_target_property(options ${{kernels}} INTERFACE_COMPILE_OPTIONS)
message(STATUS "flags of others: ${{options}}, my standard: ${{CMAKE_CXX_STANDARD}}")
foreach(target _native _cuda)
  if(TARGET ${{target}})
    message(FATAL_ERROR "a Python module in somebody else's project")
  endif()
endforeach()
"""


@pytest.mark.parametrize("of_a_wheel", [False, True])
def test_it_is_part_of_other_projects(of_a_wheel: bool, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(PARENT.format(root=ROOT))
    more = {"SKBUILD": 2} if of_a_wheel else {}
    said = configure(tmp_path, tmp_path / "build", OVCORE_CUDA="OFF", **more)
    assert "flags of others: options-NOTFOUND, my standard: \n" in said
    cmake("--install", tmp_path / "build", "--prefix", tmp_path / "prefix")
    assert not (tmp_path / "prefix").exists()  # unless OVCORE_INSTALL is set
