#pragma once

#include <functional>
#include <tuple>

#include "sharding/embedding/record_launch.h"
#include "sharding/embedding/row_launch.h"
#include "sharding/handle/cuda_api.h"

namespace rondo {

/// The row kernels of a device as a table: those of row_device.cu (row_kernels_of_library), or of a test double.
class RowLaunches {
 public:
  /// Gives the work to a stream; all its pointers are in device memory. Does not wait.
  template <typename Work>
  using Launch = std::function<CudaStatus(const Work& work, CudaStream stream)>;

  template <typename Work>
  CudaStatus launch(const Work& work, CudaStream stream) const {
    return std::get<Launch<Work>>(launches_)(work, stream);
  }

  /// Fills the table: `launcher` takes every kind of work.
  template <typename Launcher>
  static RowLaunches of(const Launcher& launcher) {
    RowLaunches made;
    std::apply([&](auto&... launch) { ((launch = launcher), ...); }, made.launches_);
    return made;
  }

 private:
  template <template <typename> typename Work>
  using OfValues = std::tuple<Launch<Work<float>>, Launch<Work<double>>, Launch<Work<Float16>>, Launch<Work<BFloat16>>>;
  using Rest = std::tuple<Launch<SegmentSums<float>>, Launch<SegmentSums<double>>, Launch<RecordCopies>>;

  decltype(std::tuple_cat(OfValues<Lookup>{}, OfValues<RowUpdates>{}, OfValues<RowCounts>{}, OfValues<InitialRows>{},
                          Rest{})) launches_;
};

/// The kernels that this program was built with. Throws ConfigError that says what is missing if it was built without.
RowLaunches row_kernels_of_library();

}  // namespace rondo
