#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "sharding/embedding/bag_sums.h"
#include "sharding/embedding/embedding_device.h"

namespace rondo {

// Bags and sums by row on a device, bit for bit as on the host (pooling.h, RowTerms): what is to be added to what is
// listed on the host, where the ids are, and added by one group of lanes a sum, in the order of the list. Matrices are
// on the device, BagLists on the host.

/// sums [rows, columns] <- the rows of `terms`, whose gradients are on the device and of the type of `sums`.
void sum_terms(DeviceStaging& staging, const TermList& terms, const at::Tensor& sums);

/// [bags, columns]: of `rows` [any, columns], which is contiguous.
at::Tensor sum_bags(DeviceStaging& staging, const at::Tensor& rows, const BagList& bags);

/// [rows, columns]: what the gradient of the bags says of each row.
at::Tensor bag_row_gradient(DeviceStaging& staging, const at::Tensor& bag_gradient, const BagList& bags, int64_t rows);

}  // namespace rondo
