#pragma once

#include <pybind11/pybind11.h>

namespace ovcore::bindings {

void bind_cuda_screens(pybind11::module_& module);

}  // namespace ovcore::bindings
