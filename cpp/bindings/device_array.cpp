#include "device_array.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <new>
#include <numeric>

#include "elements.hpp"
#include "ovcore/cuda.hpp"

namespace ovcore::bindings {
namespace {

// Memory for arrays of libraries that ovcore does not know how to ask for some.
class OwnBuffer {
 public:
  OwnBuffer(std::size_t bytes, int device, std::intptr_t stream)
      : device_(device), stream_(as_stream(stream)) {
    const OnDevice guard(device_);
    check(cudaMallocAsync(&data_, std::max<std::size_t>(bytes, 1), stream_));
  }
  ~OwnBuffer() {
    try {
      const OnDevice guard(device_);
      cudaFreeAsync(data_, stream_);
    } catch (const std::exception&) {  // the device is lost, and its memory with it
    }
  }
  OwnBuffer(const OwnBuffer&) = delete;
  OwnBuffer& operator=(const OwnBuffer&) = delete;
  std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(data_); }

 private:
  void* data_ = nullptr;
  int device_;
  cudaStream_t stream_;
};

}  // namespace

void wait_for(cudaStream_t stream) {
  cudaError_t error;
  {
    const py::gil_scoped_release others;
    error = cudaStreamSynchronize(stream);
  }
  check(error);
}

void order(cudaStream_t before, cudaStream_t after) {
  if (before == after) return;
  cudaEvent_t event;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const cudaError_t recorded = cudaEventRecord(event, before);
  const cudaError_t waits =
      recorded == cudaSuccess ? cudaStreamWaitEvent(after, event, 0) : recorded;
  cudaEventDestroy(event);  // CUDA keeps it until it has passed
  check(waits);
}

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that does not stick must not be told of twice
  if (error == cudaErrorMemoryAllocation) throw std::bad_alloc();
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error) + " (" +
                           cudaGetErrorName(error) + ")");
}

OnDevice::OnDevice(int device) : device_(device) {
  check(cudaGetDevice(&before_));
  if (before_ != device_) check(cudaSetDevice(device_));
}
OnDevice::~OnDevice() {
  if (before_ != device_) cudaSetDevice(before_);
}

Place::Place(const py::object& place)
    : self(place),
      device(place.attr("device").cast<int>()),
      stream(as_stream(place.attr("stream").cast<std::intptr_t>())) {}

Buffer allocate(const Place& place, std::size_t bytes) {
  const auto made = place.self.attr("allocate")(std::max<std::size_t>(bytes, 1)).cast<py::tuple>();
  return {reinterpret_cast<void*>(made[0].cast<std::uintptr_t>()), made[1]};
}

DeviceArray::DeviceArray(py::object place, std::string dtype, std::vector<std::int64_t> shape,
                         std::vector<std::int64_t> strides, void* data, py::object owner)
    : place_(std::move(place)),
      owner_(std::move(owner)),
      dtype_(std::move(dtype)),
      shape_(std::move(shape)),
      strides_(std::move(strides)),
      data_(data) {
  element(dtype_);
  require(shape_.size() == strides_.size(), "expected a stride for each axis");
  // A misaligned read would end all work on the GPU, not only this one.
  bool is_aligned = reinterpret_cast<std::uintptr_t>(data_) % itemsize() == 0;
  for (std::size_t axis = 0; axis < shape_.size(); ++axis)
    is_aligned &= shape_[axis] <= 1 || strides_[axis] % itemsize() == 0;
  if (!is_aligned && size() > 0) throw py::value_error("the array is not aligned to its elements");
}

DeviceArray DeviceArray::empty(const py::object& place, const std::vector<std::int64_t>& shape,
                               const std::string& dtype) {
  const std::int64_t itemsize = element(dtype).bits / 8;
  std::int64_t bytes = itemsize;
  for (const std::int64_t extent : shape) {
    require(extent >= 0, "an extent is negative");
    bytes *= extent;
  }
  const Buffer made = allocate(Place(place), static_cast<std::size_t>(bytes));
  return {place, dtype, shape, contiguous_strides(shape, itemsize), made.data, made.owner};
}

DeviceArray DeviceArray::upload(const py::object& place, const py::array& values) {
  require(values.size() == 0 || (values.flags() & py::array::c_style) != 0,
          "expected a contiguous array");
  const std::vector<std::int64_t> shape(values.shape(), values.shape() + values.ndim());
  DeviceArray array = empty(place, shape, values.dtype().attr("name").cast<std::string>());
  const Place at(place);
  const OnDevice guard(at.device);
  check(cudaMemcpyAsync(array.data_, values.data(), static_cast<std::size_t>(values.nbytes()),
                        cudaMemcpyHostToDevice, at.stream));
  wait_for(at.stream);  // the values need not live longer
  return array;
}

std::int64_t DeviceArray::size() const {
  return std::accumulate(shape_.begin(), shape_.end(), std::int64_t{1}, std::multiplies<>());
}
std::int64_t DeviceArray::itemsize() const { return element(dtype_).bits / 8; }

bool DeviceArray::is_contiguous() const {
  const std::vector<std::int64_t> expected = contiguous_strides(shape_, itemsize());
  for (std::size_t axis = 0; axis < shape_.size(); ++axis)
    if (shape_[axis] > 1 && strides_[axis] != expected[axis]) return size() == 0;
  return true;
}
bool DeviceArray::rows_are_contiguous() const {
  return size() == 0 || shape_.empty() || (*this).item(py::int_(0)).is_contiguous();
}

py::array DeviceArray::numpy() const {
  const char* name = dtype_ == "bfloat16" ? "uint16" : dtype_.c_str();
  std::int64_t first = 0, last = 0;  // bytes from the first element, to the last one
  for (std::size_t axis = 0; axis < shape_.size(); ++axis)
    (strides_[axis] < 0 ? first : last) += strides_[axis] * (shape_[axis] - 1);
  const std::int64_t bytes = size() == 0 ? 0 : last - first + itemsize();
  const py::array_t<std::uint8_t> host(bytes);
  const Place at(place_);
  {
    const OnDevice guard(at.device);
    auto* to = const_cast<std::uint8_t*>(host.data());
    const auto* from = static_cast<const char*>(data_) + first;
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDeviceToHost,
                          at.stream));
    wait_for(at.stream);
  }
  return py::array(py::dtype(name), shape_, strides_, host.data() - first, host);
}

DeviceArray DeviceArray::item(const py::object& key) const {
  const py::tuple keys = py::isinstance<py::tuple>(key) ? py::tuple(key) : py::make_tuple(key);
  if (keys.size() > shape_.size()) throw py::index_error("too many indices");
  std::vector<std::int64_t> shape, strides;
  char* data = static_cast<char*>(data_);
  for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
    if (axis >= keys.size()) {
      shape.push_back(shape_[axis]);
      strides.push_back(strides_[axis]);
    } else if (py::isinstance<py::slice>(keys[axis])) {
      py::ssize_t start = 0, stop = 0, step = 0, length = 0;
      if (!py::slice(keys[axis]).compute(shape_[axis], &start, &stop, &step, &length))
        throw py::error_already_set();
      data += start * strides_[axis];
      shape.push_back(length);
      strides.push_back(step * strides_[axis]);
    } else {
      const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(keys[axis].ptr()));
      if (!index) throw py::error_already_set();
      const auto at = index.cast<std::int64_t>();
      if (at < -shape_[axis] || at >= shape_[axis]) throw py::index_error("no such row");
      data += (at < 0 ? at + shape_[axis] : at) * strides_[axis];
    }
  }
  return {place_, dtype_, shape, strides, data, owner_};
}

DeviceArray DeviceArray::take(const py::array_t<std::int64_t>& rows) const {
  require(ndim() >= 1 && rows.ndim() == 1 && rows_are_contiguous(), "expected rows of a matrix");
  const std::int64_t count = rows.shape(0);
  for (std::int64_t i = 0; i < count; ++i)
    if (rows.at(i) < 0 || rows.at(i) >= shape_[0]) throw py::index_error("no such row");
  std::vector<std::int64_t> shape = shape_;
  shape[0] = count;
  DeviceArray taken = empty(place_, shape, dtype_);
  if (taken.size() == 0) return taken;
  const DeviceArray which = upload(place_, rows);
  const Place at(place_);
  const OnDevice guard(at.device);
  const std::int64_t row_bytes = taken.size() / count * itemsize();
  check(cuda::take_rows(data_, strides_[0], row_bytes,
                        static_cast<const std::int64_t*>(which.data()), count, taken.data_,
                        at.stream));
  return taken;
}

py::dict DeviceArray::interface() const {
  const ElementType& of = element(dtype_);
  if (of.typestr == nullptr)
    throw py::attribute_error("__cuda_array_interface__ has no " + dtype_ + ": use DLPack");
  py::dict found;
  found["version"] = 3;
  found["shape"] = py::tuple(py::cast(shape_));
  found["strides"] = py::tuple(py::cast(strides_));
  found["typestr"] = of.typestr;
  found["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(data_), false);
  const auto stream = reinterpret_cast<std::intptr_t>(Place(place_).stream);
  found["stream"] = stream == 0 ? 1 : stream;  // the default stream; 0 is not legal there
  return found;
}

void bind_device_arrays(py::module_& module) {
  py::class_<OwnBuffer>(module, "Buffer", py::module_local(), "Memory of a GPU, freed in order.")
      .def(py::init<std::size_t, int, std::intptr_t>(), py::arg("n_bytes"), py::arg("device"),
           py::arg("stream"))
      .def_property_readonly("address", &OwnBuffer::address);

  py::class_<DeviceArray>(module, "DeviceArray", py::module_local(), "An array in GPU memory.")
      .def(py::init([](const py::object& place, const std::string& dtype,
                       const std::vector<std::int64_t>& shape,
                       const std::optional<std::vector<std::int64_t>>& strides,
                       std::uintptr_t address, const py::object& owner) {
             return DeviceArray(
                 place, dtype, shape,
                 strides ? *strides : contiguous_strides(shape, element(dtype).bits / 8),
                 reinterpret_cast<void*>(address), owner);
           }),
           py::arg("place"), py::arg("dtype"), py::arg("shape"), py::arg("strides"),
           py::arg("address"), py::arg("owner"))
      .def_static("empty", &DeviceArray::empty, py::arg("place"), py::arg("shape"),
                  py::arg("dtype"))
      .def_static("upload", &DeviceArray::upload, py::arg("place"), py::arg("values"))
      .def_static("from_dlpack", &DeviceArray::from_dlpack, py::arg("place"), py::arg("capsule"))
      .def_property_readonly("place", &DeviceArray::place)
      .def_property_readonly("dtype", &DeviceArray::dtype)
      .def_property_readonly(
          "shape", [](const DeviceArray& array) { return py::tuple(py::cast(array.shape())); })
      .def_property_readonly(
          "strides", [](const DeviceArray& array) { return py::tuple(py::cast(array.strides())); })
      .def_property_readonly("ndim", &DeviceArray::ndim)
      .def_property_readonly("size", &DeviceArray::size)
      .def_property_readonly("itemsize", &DeviceArray::itemsize)
      .def_property_readonly(
          "address",
          [](const DeviceArray& array) { return reinterpret_cast<std::uintptr_t>(array.data()); })
      .def("__len__",
           [](const DeviceArray& array) {
             if (array.ndim() == 0) throw py::type_error("an array without axes has no length");
             return array.shape()[0];
           })
      .def("__getitem__", &DeviceArray::item, py::arg("key"))
      .def("take", &DeviceArray::take, py::arg("rows"), "The rows at some indices, copied.")
      .def("numpy", &DeviceArray::numpy, "A copy in host memory; bfloat16 as its bits.")
      .def("__array__",
           [](const DeviceArray&, const py::args&, const py::kwargs&) -> py::array {
             throw py::type_error("the array is on a GPU: call .numpy() for a copy in host memory");
           })
      .def("__dlpack_device__",
           [](const DeviceArray& array) {
             return py::make_tuple(static_cast<int>(dlpack::cuda), Place(array.place()).device);
           })
      .def(
          "__dlpack__",
          [](const DeviceArray& array, const py::object& stream, const py::object& max_version,
             const py::object& dl_device, const py::object& copy) {
            if (!copy.is_none() && copy.cast<bool>())
              throw py::buffer_error("a copy cannot be exported");
            const py::tuple here =
                py::make_tuple(static_cast<int>(dlpack::cuda), Place(array.place()).device);
            if (!dl_device.is_none() && !here.equal(dl_device))
              throw py::buffer_error("the array cannot be exported to another device");
            return array.to_dlpack(stream, max_version);
          },
          py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def_property_readonly("__cuda_array_interface__", &DeviceArray::interface)
      .def("__repr__", [](const DeviceArray& array) {
        return py::str("DeviceArray({}, {}, cuda:{})")
            .format(py::tuple(py::cast(array.shape())), array.dtype(), Place(array.place()).device);
      });

  module.def(
      "devices",
      [] {
        int count = 0;
        const cudaError_t found_any = cudaGetDeviceCount(&count);
        if (found_any == cudaErrorNoDevice || found_any == cudaErrorInsufficientDriver) {
          cudaGetLastError();
          throw std::runtime_error(std::string("no CUDA device: ") + cudaGetErrorString(found_any));
        }
        check(found_any);
        py::list names;
        bool is_any_new_enough = false;
        for (int device = 0; device < count; ++device) {
          cudaDeviceProp found{};
          check(cudaGetDeviceProperties(&found, device));
          const bool is_new_enough = found.major >= 8;
          is_any_new_enough |= is_new_enough;
          names.append(py::str("{}, compute capability {}.{}{}")
                           .format(found.name, found.major, found.minor,
                                   is_new_enough ? "" : " (too old: kernels need 8.0)"));
        }
        if (!is_any_new_enough)
          throw std::runtime_error("no CUDA device that is new enough: " +
                                   py::str("; ").attr("join")(names).cast<std::string>());
        return names;
      },
      "Names of the GPUs. RuntimeError says why there are none.");
  module.def(
      "device_of",
      [](std::uintptr_t address) {
        cudaPointerAttributes found{};
        check(cudaPointerGetAttributes(&found, reinterpret_cast<void*>(address)));
        return found.device;
      },
      py::arg("address"), "The device that memory is on.");
  module.def(
      "order",
      [](int device, std::intptr_t before, std::intptr_t after) {
        const OnDevice guard(device);
        order(as_stream(before), as_stream(after));
      },
      py::arg("device"), py::arg("before"), py::arg("after"),
      "Makes a stream wait for what was queued on another.");
}

}  // namespace ovcore::bindings
