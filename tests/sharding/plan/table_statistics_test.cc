#include "sharding/plan/table_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "sharding/base/error.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

/// The sum over every row, one by one.
double distinct_by_definition(int64_t rows, double alpha, double draws) {
  const auto integral = [&](double x) {
    return alpha == 1.0 ? std::log(x) : (std::pow(x, 1 - alpha) - 1) / (1 - alpha);
  };
  double sum = 0.0;
  for (int64_t k = 1; k <= rows; ++k) {
    const double p = (integral(static_cast<double>(k) + 1) - integral(static_cast<double>(k))) /
                     integral(static_cast<double>(rows) + 1);
    sum += 1.0 - std::pow(1.0 - p, draws);
  }
  return sum;
}

TEST(PowerLaw, AgreesWithTheSumOverAllRows) {
  for (const int64_t rows : {1, 2, 63, 64, 65, 1000, 200'000}) {
    for (const double alpha : {0.0, 0.5, 1.0, 1.05, 2.0}) {
      for (const double draws : {1.0, 7.0, 5000.0}) {
        const double expected = distinct_by_definition(rows, alpha, draws);
        EXPECT_NEAR(PowerLaw(rows, alpha).distinct(draws), expected, 1e-3 * expected)
            << rows << " rows, alpha " << alpha << ", " << draws << " draws";
      }
    }
  }
}

TEST(PowerLaw, KnowsTheBenchmarkOfThePeers) {
  // 1 M rows, alpha 1.05, drawn five times with its generator: 42.1 to 42.9 % of 20,480 ids, 37.1 to 37.8 % of 40,960.
  const PowerLaw law(1'000'000, 1.05);
  EXPECT_NEAR(law.distinct(20'480) / 20'480, 0.4236, 0.003);
  EXPECT_NEAR(law.distinct(40'960) / 40'960, 0.3748, 0.003);
}

TEST(PowerLaw, SharesOfTheFirstRows) {
  EXPECT_DOUBLE_EQ(PowerLaw(100, 0.0).share_of_first(10), 0.1);
  EXPECT_DOUBLE_EQ(PowerLaw(100, 1.0).share_of_first(1), std::log(2.0) / std::log(101.0));
  EXPECT_DOUBLE_EQ(PowerLaw(100, 1.3).share_of_first(100), 1.0);
  EXPECT_DOUBLE_EQ(PowerLaw(100, 1.3).share_of_first(500), 1.0);
  EXPECT_DOUBLE_EQ(PowerLaw(100, 1.3).share_of_first(0), 0.0);
}

TEST(ExpectedDistinct, NeverExceedsIdsOrRows) {
  const TableStatistics uniform;
  EXPECT_EQ(expected_distinct(uniform, 100, 0.0), 0.0);
  EXPECT_LE(expected_distinct(uniform, 100, 1e9), 100.0);
  EXPECT_LE(expected_distinct(uniform, 1'000'000'000'000, 50.0), 50.0);
  EXPECT_EQ(expected_distinct(uniform, 0, 50.0), 50.0) << "unknown rows: all distinct";
}

TEST(ExpectedDistinct, ReadsAMeasuredCurveOnLogarithmicScales) {
  TableStatistics measured;
  measured.measured = {{100, 80}, {10'000, 2000}};
  EXPECT_DOUBLE_EQ(expected_distinct(measured, 0, 100), 80);
  EXPECT_DOUBLE_EQ(expected_distinct(measured, 0, 50), 40) << "below the first point, in proportion";
  EXPECT_NEAR(expected_distinct(measured, 0, 1000), 400, 1e-9) << "half way: the geometric mean";
  EXPECT_NEAR(expected_distinct(measured, 0, 1'000'000), 50'000, 1e-6) << "beyond: the last slope";
  EXPECT_DOUBLE_EQ(expected_distinct(measured, 3000, 1'000'000), 3000) << "no more than there are rows";
}

TEST(TableStatisticsValidation, NamesTableFieldValueAndRange) {
  const auto refusal = [](const TableStatistics& statistics) -> std::string {
    try {
      validate(statistics, "item");
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      return error.what();
    }
    return "taken";
  };
  EXPECT_EQ(refusal({}), "taken");
  EXPECT_EQ(refusal({.ids_per_example = -1}), "table \"item\": ids_per_example must be finite and >= 0, got -1");
  EXPECT_THAT(refusal({.bags_per_example = INFINITY}), HasSubstr("bags_per_example must be finite"));
  EXPECT_THAT(refusal({.skew = 11}), HasSubstr("skew must be in [0, 10], got 11"));
  EXPECT_THAT(refusal({.measured = {{10, 5}, {10, 6}}}), HasSubstr("measured ids must be finite and ascending"));
  EXPECT_THAT(refusal({.measured = {{10, 11}}}), HasSubstr("measured distinct must be ascending, positive"));
}

}  // namespace
}  // namespace rondo
