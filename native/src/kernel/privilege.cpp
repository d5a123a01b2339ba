#include "privilege.hpp"

#include <dirent.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

namespace headwater::kernel {
namespace {

constexpr int capabilitiesMax = 64;
constexpr int answerWithinMs = 1'000;
constexpr int lookEveryMs = 1;

// What a signal's handler needs, which takes no arguments of ours.
std::atomic<Capabilities> wanted{0};
std::atomic<int> answers{0};
std::atomic<int> failure{0};

Capabilities permitted() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return 0;
  return data[0].permitted | static_cast<Capabilities>(data[1].permitted) << 32;
}

// System calls only: it runs in the handler of a signal, whatever the thread was doing.
int keepOnly(Capabilities keep) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // Needs a right that may not be there; no_new_privs says the same already.
  for (int number = 0; number < capabilitiesMax; number += 1) {
    if ((keep >> number & 1) == 0 && prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1) prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
  }
  const Capabilities left = permitted() & keep;
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  data[0].permitted = data[0].effective = static_cast<__u32>(left);
  data[1].permitted = data[1].effective = static_cast<__u32>(left >> 32);
  return syscall(SYS_capset, &header, data) == 0 ? 0 : errno;
}

void onSignal(int) {
  const int before = errno;
  const int failed = keepOnly(wanted.load());
  if (failed != 0) failure.store(failed);
  answers.fetch_add(1);
  errno = before;
}

std::vector<pid_t> otherThreads() {
  std::vector<pid_t> threads;
  DIR* const directory = opendir("/proc/self/task");
  if (directory == nullptr) return threads;
  const auto own = static_cast<pid_t>(syscall(SYS_gettid));
  for (const dirent* entry = readdir(directory); entry != nullptr; entry = readdir(directory)) {
    const pid_t thread = std::atoi(entry->d_name);
    if (thread > 0 && thread != own) threads.push_back(thread);
  }
  closedir(directory);
  return threads;
}

bool blocks(pid_t thread, int signal) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/self/task/%d/status", thread);
  FILE* const file = std::fopen(path, "re");
  if (file == nullptr) return true;
  char line[256];
  unsigned long long mask = ~0ULL;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::sscanf(line, "SigBlk: %llx", &mask) == 1) break;
  }
  std::fclose(file);
  return (mask >> (signal - 1) & 1) != 0;
}

// Answers how many threads were asked and did not do it.
std::uint32_t onOtherThreads(const std::vector<pid_t>& threads, int signal) {
  int asked = 0;
  std::uint32_t unreached = 0;
  for (const pid_t thread : threads) {
    if (blocks(thread, signal)) unreached += 1;
    else if (syscall(SYS_tgkill, getpid(), thread, signal) == 0) asked += 1;
  }
  for (int waited = 0; answers.load() < asked && waited < answerWithinMs; waited += lookEveryMs) {
    const timespec pause = {.tv_sec = 0, .tv_nsec = lookEveryMs * 1'000'000L};
    nanosleep(&pause, nullptr);
  }
  return unreached + static_cast<std::uint32_t>(std::max(0, asked - answers.load()));
}

}  // namespace

Capabilities heldCapabilities() { return permitted(); }

Privileges dropPrivileges(Capabilities here, Capabilities elsewhere) {
  static std::mutex one;
  const std::lock_guard<std::mutex> lock(one);
  // The handler stays: a thread that answers late must find it, or the signal would end the process.
  struct sigaction action = {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  wanted.store(elsewhere);
  failure.store(0);
  Privileges result;
  if (sigaction(SIGRTMAX - 3, &action, nullptr) != 0) return Privileges{.held = permitted(), .failed = errno};
  // Twice: a thread that began during the first round may have its rights from one that still had them.
  for (int round = 0; round < 2; round += 1) {
    const std::vector<pid_t> threads = otherThreads();
    answers.store(0);
    result.unreached = onOtherThreads(threads, SIGRTMAX - 3);
    result.threads = static_cast<std::uint32_t>(threads.size()) + 1;
  }
  result.failed = failure.load();
  const int own = keepOnly(here);
  if (own != 0) result.failed = own;
  result.held = permitted();
  return result;
}

}  // namespace headwater::kernel
