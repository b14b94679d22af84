// Checks that guard memory; what users got wrong was told in Python before, by name.
#pragma once

#include <stdexcept>

namespace ovcore::bindings {

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

}  // namespace ovcore::bindings
