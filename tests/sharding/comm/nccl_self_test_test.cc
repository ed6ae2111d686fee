// What a start-up on devices says, and the mistakes of a launcher that it names; over the doubles.
#include "sharding/comm/nccl_self_test.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/handle/cuda_device.h"
#include "tests/support/nccl_ranks.h"

namespace rondo {
namespace {

using ::testing::AllOf;
using testing::FakeMachine;
using testing::FakeNccl;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::run_nccl_ranks;
using testing::test_options;

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    return error.what();
  }
  ADD_FAILURE() << "no ConfigError";
  return {};
}

TEST(DeviceOfRankTest, IsTheLocalRankOrTheOnlyOne) {
  EXPECT_EQ(device_of_rank(8, {.local_rank = 5, .local_size = 8}), 5);
  EXPECT_EQ(device_of_rank(8, {.local_rank = 1, .local_size = 2}), 1);
  EXPECT_EQ(device_of_rank(1, {.local_rank = 3, .local_size = 4}), 0) << "each rank is shown its own";
  EXPECT_THAT(refusal([] { device_of_rank(3, {.local_rank = 0, .local_size = 4}); }),
              HasSubstr("this host has 4 ranks, but only 3 devices are visible"));
}

TEST(VisibleDevicesTest, SaysWhyThereIsNone) {
  FakeMachine machine(2);
  CudaApi api = machine.cuda(0);
  EXPECT_EQ(visible_devices(api).count, 2);
  const auto answer = [&](CudaStatus status, int count) {
    api.get_device_count = [=](int* devices) {
      *devices = count;
      return status;
    };
    const VisibleDevices devices = visible_devices(api);
    EXPECT_EQ(devices.count, 0);
    return devices.why;
  };
  EXPECT_THAT(answer(kCudaInsufficientDriver, 7), HasSubstr("no NVIDIA driver"));
  EXPECT_THAT(answer(kCudaNoDevice, 0), HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(answer(kCudaSuccess, 0), HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(answer(999, 0), HasSubstr("(CUDA error 999)"));
}

std::string text_of(const std::vector<DeviceCheck>& checks) {
  std::string text;
  for (const DeviceCheck& check : checks) text += rondo::text_of(check) + "\n";
  return text;
}

TEST(SelfTest, SaysWhatIsThereAndNamesWhatFails) {
  FakeMachine machine(2);
  FakeNccl nccl(machine);
  CudaApi api = machine.cuda(0);
  const auto checks = check_device(api, nccl.api(0), 0, {});
  EXPECT_THAT(text_of(checks),
              AllOf(HasSubstr("driver: CUDA 13.0, runtime CUDA 13.0"),
                    HasSubstr("device: 0: Double, compute capability 9.0, 16 GiB"), HasSubstr("NCCL: 2.28.9"),
                    HasSubstr("peer access: to device 1"), HasSubstr("/dev/shm: "), HasSubstr("locked memory: ")));
  api.driver_version = [](int* version) {
    *version = 12'080;
    return kCudaSuccess;
  };
  api.get_device_info = [](int, CudaDeviceInfo* info) {
    *info = {.name = "Old", .uuid = "0", .memory_bytes = 1, .major = 7};
    return kCudaSuccess;
  };
  const std::string text = refusal([&] { require_passed(check_device(api, nccl.api(0), 0, {})); });
  EXPECT_THAT(text, AllOf(HasSubstr("driver: CUDA 12.8, runtime CUDA 13.0 - the driver is older"),
                          HasSubstr("need compute capability 8.0"), Not(HasSubstr("NCCL: "))));
}

TEST(SelfTest, TwoRanksOnOneDeviceAreNamed) {
  const auto meet = [](int bad) {
    run_ranks(4, test_options(), [=](Communicator& comm) {
      require_own_devices(comm, "node1", comm.rank() == bad ? "uuid-1" : concat("uuid-", comm.rank()));
    });
  };
  EXPECT_NO_THROW(meet(1));
  EXPECT_THAT(refusal([&] { meet(3); }), HasSubstr("ranks 1 and 3 were given the same device (node1 uuid-1)"));
}

TEST(SelfTest, EveryPairExchangesAtEveryWorld) {
  for (const int world : {1, 2, 3, 4, 7}) {
    run_nccl_ranks(world, test_options(), {}, [](NcclCommunicator& comm) {
      const SelfTestTensors tensors{at::zeros({comm.size()}, at::kLong), at::zeros({comm.size()}, at::kLong)};
      EXPECT_NO_THROW(verify_exchange(comm, tensors));
      EXPECT_NE(tensors.receive.const_data_ptr<int64_t>()[0], 0);
    });
  }
}

}  // namespace
}  // namespace rondo
