// Bindings of the kernels that combine models.
#pragma once

#include <pybind11/pybind11.h>

namespace ovcore::bindings {

void bind_ensembles(pybind11::module_& module);

}  // namespace ovcore::bindings
