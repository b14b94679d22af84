// Arrays in GPU memory through DLPack: taken from other libraries, and handed to them.
#include <memory>
#include <type_traits>

#include "device_array.hpp"
#include "elements.hpp"

namespace ovcore::bindings {
namespace {

// An exported array: what DLPack's structures point to.
template <class ManagedTensor>
struct Exported {
  ManagedTensor managed{};
  std::vector<std::int64_t> shape, strides;
  py::object owner;

  static void destroy(ManagedTensor* managed) {
    const py::gil_scoped_acquire gil;
    delete static_cast<Exported*>(managed->context);
  }
};

template <class ManagedTensor>
py::capsule export_as(const char* name, const DeviceArray& array, int device,
                      const py::object& owner) {
  auto exported = std::make_unique<Exported<ManagedTensor>>();
  const ElementType& of = element(array.dtype());
  exported->owner = owner;
  exported->shape = array.shape();
  for (const std::int64_t stride : array.strides())
    exported->strides.push_back(stride / array.itemsize());
  exported->managed.tensor = {array.data(),
                              {dlpack::cuda, device},
                              static_cast<std::int32_t>(array.ndim()),
                              {of.code, of.bits, 1},
                              exported->shape.data(),
                              exported->strides.data(),
                              0};
  exported->managed.context = exported.get();
  exported->managed.deleter = &Exported<ManagedTensor>::destroy;
  if constexpr (std::is_same_v<ManagedTensor, dlpack::ManagedVersioned>)
    exported->managed.major = 1;
  PyObject* capsule = PyCapsule_New(&exported->managed, name, [](PyObject* self) {
    // A consumer renames what it takes over.
    for (const char* unused : {"dltensor", "dltensor_versioned"})
      if (PyCapsule_IsValid(self, unused)) {
        auto* managed = static_cast<ManagedTensor*>(PyCapsule_GetPointer(self, unused));
        managed->deleter(managed);
        return;
      }
  });
  if (capsule == nullptr) throw py::error_already_set();
  exported.release();
  return py::reinterpret_steal<py::capsule>(capsule);
}

template <class ManagedTensor>
DeviceArray import_as(const py::object& place, const py::capsule& capsule, const char* used) {
  auto* managed = capsule.get_pointer<ManagedTensor>();
  const dlpack::Tensor& tensor = managed->tensor;
  const int device = Place(place).device;
  if ((tensor.device.kind != dlpack::cuda && tensor.device.kind != dlpack::cuda_managed) ||
      tensor.device.index != device)
    throw py::buffer_error("the array that came is on another device than it said");
  const ElementType* of = nullptr;
  for (const ElementType& known : elements)
    if (known.code == tensor.type.code && known.bits == tensor.type.bits) of = &known;
  if (of == nullptr || tensor.type.lanes != 1)
    throw py::type_error("arrays of DLPack type code " + std::to_string(tensor.type.code) + ", " +
                         std::to_string(tensor.type.bits) + " bits, are not supported on GPUs");
  const std::vector<std::int64_t> shape(tensor.shape, tensor.shape + tensor.ndim);
  std::vector<std::int64_t> strides = contiguous_strides(shape, of->bits / 8);
  if (tensor.strides != nullptr)
    for (std::int32_t axis = 0; axis < tensor.ndim; ++axis)
      strides[axis] = tensor.strides[axis] * (of->bits / 8);
  void* data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  if (PyCapsule_SetName(capsule.ptr(), used) != 0) throw py::error_already_set();
  const py::capsule owner(managed, [](void* taken) {
    auto* of_producer = static_cast<ManagedTensor*>(taken);
    if (of_producer->deleter != nullptr) of_producer->deleter(of_producer);
  });
  return DeviceArray(place, of->name, shape, strides, data, owner);
}

}  // namespace

DeviceArray DeviceArray::from_dlpack(const py::object& place, const py::capsule& capsule) {
  const std::string name = capsule.name() == nullptr ? "" : capsule.name();
  if (name == "dltensor_versioned") {
    if (capsule.get_pointer<dlpack::ManagedVersioned>()->major > 1)
      throw py::buffer_error("the array comes in a version of DLPack after 1");
    return import_as<dlpack::ManagedVersioned>(place, capsule, "used_dltensor_versioned");
  }
  if (name == "dltensor") return import_as<dlpack::Managed>(place, capsule, "used_dltensor");
  throw py::buffer_error("expected an unused DLPack capsule, got one called '" + name + "'");
}

py::capsule DeviceArray::to_dlpack(const py::object& stream, const py::object& max_version) const {
  const Place at(place_);
  const std::intptr_t consumer = stream.is_none() ? 1 : stream.cast<std::intptr_t>();
  if (consumer == 0) throw py::value_error("stream 0 is not legal for CUDA: pass 1 or 2");
  if (consumer != -1) {
    const OnDevice guard(at.device);
    order(at.stream, as_stream(consumer));
  }
  const py::object owner = py::cast(*this);
  const bool is_versioned =
      !max_version.is_none() && py::tuple(max_version)[0].cast<std::int64_t>() >= 1;
  if (is_versioned)
    return export_as<dlpack::ManagedVersioned>("dltensor_versioned", *this, at.device, owner);
  return export_as<dlpack::Managed>("dltensor", *this, at.device, owner);
}

}  // namespace ovcore::bindings
