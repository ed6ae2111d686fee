#pragma once

#include <cstdint>
#include <vector>

#include "sharding/base/random.h"
#include "trainer/loop/classifier_data.h"

namespace rondo::testing {

/// Texts with classes in memory: lengths from 3 to 40 tokens, some texts several times, with weights; a class shows in
/// its words.
struct TinyTexts {
  static constexpr int64_t kVocabulary = 60;
  static constexpr int64_t kClasses = 3;

  explicit TinyTexts(int64_t count = 90, uint64_t seed = 11) {
    const CounterRandom random(seed, 0, RandomPurpose::kTest);
    data.vocabulary_size = kVocabulary;
    data.examples.label_names = {"bad", "fair", "good"};
    for (int64_t i = 0; i < count; ++i) {
      const auto source = static_cast<uint64_t>(i % 7 == 6 ? i - 1 : i);  // every seventh says what the one before says
      const auto label = static_cast<int32_t>(random.below(kClasses, source, 0));
      data.examples.labels.push_back(label);
      data.examples.weights.push_back(i % 5 == 0 ? 2.5F : 1.0F);
      data.tokens.ids.push_back(2);  // [CLS]
      const auto words = static_cast<int64_t>(1 + random.below(i % 4 == 0 ? 38 : 10, source, 1));
      for (int64_t word = 0; word < words; ++word) {
        const uint64_t own = 5 + 15 * static_cast<uint64_t>(label) + random.below(15, source, 2 + 2 * word);
        const uint64_t any = 50 + random.below(10, source, 2 + 2 * word);
        const bool tells = random.below(3, source, 3 + 2 * word) == 0;
        data.tokens.ids.push_back(static_cast<int32_t>(tells ? own : any));
      }
      data.tokens.ids.push_back(3);  // [SEP]
      data.tokens.offsets.push_back(static_cast<int64_t>(data.tokens.ids.size()));
      auto& part = i % 5 == 1 ? data.split.valid : i % 5 == 2 ? data.split.test : data.split.train;
      part.push_back(i);
    }
  }

  ClassifierData data;
};

}  // namespace rondo::testing
