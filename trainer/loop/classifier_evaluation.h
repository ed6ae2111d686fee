#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/eval/classification_report.h"
#include "trainer/eval/evaluation_data.h"
#include "trainer/loop/classifier_data.h"
#include "trainer/model/text_classifier.h"

namespace rondo {

/// Probabilities of the classes of texts, [texts, classes], on every rank: each rank takes a part, in batches of texts
/// of about one length. Collective; the same numbers on any number of ranks, within rounding of the dense products.
std::vector<double> class_probabilities(const TextClassifier& model, std::span<const std::span<const int32_t>> texts,
                                        Communicator& comm);

/// The model on held-out examples, beside a floor that always says the most frequent class of training. The same on
/// every rank. REQUIRES: there are held-out examples. Collective.
ClassificationReport evaluate_classifier(const TextClassifier& model, const ClassifierData& data, HeldOut which,
                                         int64_t step, Communicator& comm);

}  // namespace rondo
