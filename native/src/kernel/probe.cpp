#include "probe.hpp"

#include <bpf/bpf.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>

#include "words.hpp"

namespace headwater::kernel {
namespace {

constexpr std::size_t readBytes = 65'536;

bool isRunByHand(const bpf_program* program) {
  return bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL || bpf_program__expected_attach_type(program) == BPF_TRACE_ITER;
}

bpf_link* attachIterator(const bpf_program* program, const Map* map) {
  bpf_iter_link_info walked = {};
  if (map != nullptr) walked.map.map_fd = static_cast<__u32>(map->fd);
  LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = map == nullptr ? nullptr : &walked,
              .link_info_len = map == nullptr ? 0U : static_cast<__u32>(sizeof(walked)));
  return bpf_program__attach_iter(program, &options);
}

}  // namespace

void Probe::open(const std::vector<std::pair<std::string, std::string>>& objects, Sizes sizes,
                 const std::function<bool(const std::string&)>& wanted) {
  sizes_ = std::move(sizes);
  for (const auto& [name, path] : objects) {
    objects_.push_back(std::make_unique<ProbeObject>(name, path));
    objects_.back()->open(wanted);
  }
}

void Probe::load() {
  for (const auto& object : objects_) object->load(sizes_, maps_);
#ifdef __GLIBC__
  // libbpf had the types of the whole kernel in memory, some 20 MB that are asked for again only by another load.
  malloc_trim(0);
#endif
}

void Probe::attachAll() {
  for (const auto& object : objects_) {
    for (Program& program : object->programs()) {
      if (program.loaded != nullptr && program.link == nullptr && !isRunByHand(program.loaded)) attach(program);
    }
  }
}

void Probe::attach(Program& program, const Map* map) {
  if (program.loaded == nullptr || program.link != nullptr) return;
  LibbpfMessages messages;
  const bool iterates = bpf_program__expected_attach_type(program.loaded) == BPF_TRACE_ITER;
  bpf_link* const link = iterates ? attachIterator(program.loaded, map) : bpf_program__attach(program.loaded);
  program.failed = link == nullptr ? errno : 0;
  program.reason = link == nullptr ? "cannot be attached: " + errnoInWords(program.failed) : "";
  program.verifierLog = link == nullptr ? lastLines(messages.text(), logLinesKept, logBytesKept) : "";
  program.link.reset(link);
}

Program* Probe::program(const std::string& name) {
  Program* found = nullptr;
  for (const auto& object : objects_) {
    for (Program& program : object->programs()) {
      if (program.name != name && object->name() + "/" + program.name != name) continue;
      if (program.loaded != nullptr) return &program;
      if (found == nullptr) found = &program;
    }
  }
  return found;
}

ProbeObject* Probe::object(const std::string& name) {
  for (const auto& object : objects_) {
    if (object->name() == name) return object.get();
  }
  return nullptr;
}

const Map* Probe::map(const std::string& name) const {
  const auto found = maps_.find(name);
  return found == maps_.end() ? nullptr : &found->second;
}

Ring* Probe::ring(const std::string& name, std::string& failure) {
  const auto known = rings_.find(name);
  if (known != rings_.end()) return known->second.get();
  const Map* const map = this->map(name);
  if (map == nullptr || !isRing(map->type)) {
    failure = "no loaded object has a ring of this name";
    return nullptr;
  }
  std::unique_ptr<Ring> ring = Ring::open(map->fd, map->entriesMax, failure);
  if (ring == nullptr) return nullptr;
  return rings_.emplace(name, std::move(ring)).first->second.get();
}

IteratorText Probe::runIterator(Program& program, const Map* map) {
  IteratorText text;
  if (program.loaded == nullptr) return IteratorText{.failed = program.failed == 0 ? ENOENT : program.failed, .left = false, .bytes = {}};
  attach(program, map);
  if (program.link == nullptr) return IteratorText{.failed = program.failed, .left = false, .bytes = {}};
  const int fd = bpf_iter_create(bpf_link__fd(program.link.get()));
  if (fd < 0) {
    text.failed = errno;
    return text;
  }
  std::size_t used = 0;
  while (true) {
    if (used >= iteratorBytesMax) {
      text.left = true;
      break;
    }
    text.bytes.resize(used + readBytes);
    const ssize_t count = ::read(fd, text.bytes.data() + used, readBytes);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count < 0) text.failed = errno;
    if (count <= 0) break;
    used += static_cast<std::size_t>(count);
  }
  text.bytes.resize(used);
  ::close(fd);
  return text;
}

std::int64_t Probe::run(Program& program, std::uint8_t* context, std::size_t contextBytes) {
  if (program.loaded == nullptr) return program.failed == 0 ? -ENOENT : -program.failed;
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = static_cast<__u32>(contextBytes));
  if (bpf_prog_test_run_opts(bpf_program__fd(program.loaded), &options) != 0) return -errno;
  return options.retval;
}

int Probe::enableStatistics() {
  if (statisticsFd_ >= 0) return 0;
  statisticsFd_ = bpf_enable_stats(BPF_STATS_RUN_TIME);
  return statisticsFd_ >= 0 ? 0 : errno;
}

void Probe::disableStatistics() {
  if (statisticsFd_ >= 0) ::close(statisticsFd_);
  statisticsFd_ = -1;
}

RunStatistics Probe::statistics(const Program& program) {
  if (program.loaded == nullptr) return {};
  bpf_prog_info info = {};
  __u32 bytes = sizeof(info);
  if (bpf_obj_get_info_by_fd(bpf_program__fd(program.loaded), &info, &bytes) != 0) return {};
  return RunStatistics{.runCount = info.run_cnt, .runNs = info.run_time_ns, .missed = info.recursion_misses};
}

void Probe::close() {
  rings_.clear();
  idle_.clear();
  for (const auto& object : objects_) {
    for (Program& program : object->programs()) program.link.reset();
  }
  // Links before programs, programs before the maps that they use.
  objects_.clear();
  maps_.clear();
  disableStatistics();
}

}  // namespace headwater::kernel
