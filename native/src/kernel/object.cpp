#include "object.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "words.hpp"

namespace headwater::kernel {
namespace {

constexpr const char* settingsSection = ".data.settings";

Map definitionOf(const bpf_map* map, const std::string& object) {
  return Map{.name = bpf_map__name(map),
             .object = object,
             .fd = bpf_map__fd(map),
             .type = static_cast<std::uint32_t>(bpf_map__type(map)),
             .keyBytes = bpf_map__key_size(map),
             .valueBytes = bpf_map__value_size(map),
             .entriesMax = bpf_map__max_entries(map),
             .flags = bpf_map__map_flags(map)};
}

std::string inWords(const Map& map) {
  return "type " + std::to_string(map.type) + ", key " + std::to_string(map.keyBytes) + " bytes, value " + std::to_string(map.valueBytes) +
         " bytes, " + std::to_string(map.entriesMax) + " entries, flags " + std::to_string(map.flags);
}

bool sameDefinition(const Map& left, const Map& right) {
  return left.type == right.type && left.keyBytes == right.keyBytes && left.valueBytes == right.valueBytes &&
         left.entriesMax == right.entriesMax && left.flags == right.flags;
}

// The line of a verifier's log that says what is wrong: the last one that is no statistics.
std::string verdictOf(const std::string& log) {
  const std::size_t statistics = log.rfind("\nprocessed ");
  return lastLines(statistics == std::string::npos ? log : log.substr(0, statistics), 1, logBytesKept);
}

bpf_map* settingsOf(bpf_object* object) { return bpf_object__find_map_by_name(object, settingsSection); }

}  // namespace

OwnedObject ProbeObject::openFresh(std::string& failure, int& failed) const {
  LibbpfMessages messages;
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name_.c_str());
  bpf_object* const object = bpf_object__open_file(path_.c_str(), &options);
  if (object == nullptr) {
    failed = errno;
    failure = path_ + " cannot be opened: " + errnoInWords(failed);
    if (!messages.text().empty()) failure.append("; libbpf: ").append(lastLines(messages.text(), 3, 500));
  }
  return OwnedObject(object);
}

bool ProbeObject::open(const std::function<bool(const std::string&)>& wanted) {
  object_ = openFresh(failure_, failed_);
  if (object_ == nullptr) return false;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_.get()) {
    Program found;
    found.name = bpf_program__name(program);
    found.section = bpf_program__section_name(program);
    found.wanted = wanted(found.name);
    if (!found.wanted) found.reason = "not asked for";
    programs_.push_back(std::move(found));
  }
  return true;
}

// Sizes first: they are a part of the definition that objects must agree about.
bool ProbeObject::prepare(bpf_object* object, const Sizes& sizes, const Maps& maps, std::string& failure) const {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (bpf_map__is_internal(map)) continue;
    const std::string name = bpf_map__name(map);
    const auto size = sizes.find(name);
    // Setting a ring's size also rounds it up to what the kernel takes.
    if (size != sizes.end()) bpf_map__set_max_entries(map, size->second);
    else if (isRing(bpf_map__type(map))) bpf_map__set_max_entries(map, bpf_map__max_entries(map));
    const auto shared = maps.find(name);
    if (shared == maps.end()) continue;
    const Map own = definitionOf(map, name_);
    if (!sameDefinition(own, shared->second)) {
      failure = "map " + name + " is defined otherwise in " + shared->second.object + " (" + inWords(shared->second) + ") than here (" +
                inWords(own) + ")";
      return false;
    }
    const int failed = bpf_map__reuse_fd(map, shared->second.fd);
    if (failed != 0) {
      failure = "map " + name + " of " + shared->second.object + " cannot be shared: " + errnoInWords(-failed);
      return false;
    }
  }
  bpf_map* const settings = settingsOf(object);
  if (settings != nullptr && !settings_.empty()) {
    std::size_t bytes = 0;
    void* const initial = const_cast<void*>(bpf_map__initial_value(settings, &bytes));
    if (initial != nullptr) std::memcpy(initial, settings_.data(), std::min(bytes, settings_.size()));
  }
  return true;
}

// Loads a fresh copy of the object with the chosen programs; it becomes the object when that worked. What failed goes to `blamed`.
bool ProbeObject::tryLoad(const std::function<bool(const Program&)>& chosen, const Sizes& sizes, const Maps& maps, Program* blamed) {
  std::string failure;
  int failed = 0;
  OwnedObject fresh = openFresh(failure, failed);
  std::unique_ptr<char, decltype(&std::free)> log(static_cast<char*>(std::calloc(verifierLogBytesMax, 1)), &std::free);
  LibbpfMessages messages;
  if (fresh != nullptr && !prepare(fresh.get(), sizes, maps, failure)) failed = EINVAL;
  if (failed == 0) {
    for (Program& program : programs_) {
      bpf_program* const found = bpf_object__find_program_by_name(fresh.get(), program.name.c_str());
      const bool load = chosen(program);
      bpf_program__set_autoload(found, load);
      if (load && log != nullptr) bpf_program__set_log_buf(found, log.get(), verifierLogBytesMax);
    }
    failed = -bpf_object__load(fresh.get());
    if (failed != 0) failure = errnoInWords(failed);
  }
  if (failed == 0) {
    for (Program& program : programs_) {
      bpf_program* const found = bpf_object__find_program_by_name(fresh.get(), program.name.c_str());
      program.loaded = bpf_program__autoload(found) ? found : nullptr;
      // The buffer ends with this call.
      bpf_program__set_log_buf(found, nullptr, 0);
    }
    object_ = std::move(fresh);
    return true;
  }
  if (blamed != nullptr) {
    blamed->failed = failed;
    blamed->reason = failure;
    blamed->verifierLog = lastLines(log == nullptr ? "" : log.get(), logLinesKept, logBytesKept);
    if (blamed->verifierLog.empty()) blamed->verifierLog = lastLines(messages.text(), logLinesKept, logBytesKept);
    else blamed->reason = "the verifier refused it: " + verdictOf(blamed->verifierLog);
  }
  return false;
}

void ProbeObject::load(const Sizes& sizes, Maps& maps) {
  if (object_ == nullptr) return;
  // The object that was opened first served to name its programs.
  object_.reset();
  if (!tryLoad([](const Program& program) { return program.wanted; }, sizes, maps, nullptr)) loadOneByOne(sizes, maps);
  if (object_ != nullptr) registerMaps(maps);
}

// libbpf gives up at the first program that fails, so each is tried alone, and then those together that the kernel takes.
void ProbeObject::loadOneByOne(const Sizes& sizes, const Maps& maps) {
  Program none;
  if (!tryLoad([](const Program&) { return false; }, sizes, maps, &none)) {
    std::string failure = none.reason.rfind("map ", 0) == 0 ? none.reason : "its maps cannot be created: " + none.reason;
    if (!none.verifierLog.empty()) failure.append("; libbpf: ").append(none.verifierLog);
    refuse(none.failed, failure);
    return;
  }
  for (Program& program : programs_) {
    if (program.wanted) tryLoad([&program](const Program& other) { return &other == &program; }, sizes, maps, &program);
  }
  const auto taken = [](const Program& program) { return program.wanted && program.failed == 0; };
  Program together;
  object_.reset();
  if (!tryLoad(taken, sizes, maps, &together)) refuse(together.failed, "each alone, but not all together: " + together.reason);
}

void ProbeObject::refuse(int failed, const std::string& failure) {
  object_.reset();
  failed_ = failed;
  failure_ = failure;
  for (Program& program : programs_) {
    program.loaded = nullptr;
    if (!program.wanted || program.failed != 0) continue;
    program.failed = failed;
    program.reason = failure;
  }
}

void ProbeObject::registerMaps(Maps& maps) const {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_.get()) {
    if (!bpf_map__is_internal(map) && bpf_map__fd(map) >= 0) maps.try_emplace(bpf_map__name(map), definitionOf(map, name_));
  }
}

int ProbeObject::writeSettings(const std::uint8_t* bytes, std::size_t count) {
  if (object_ == nullptr) return failed_ == 0 ? ENOENT : failed_;
  bpf_map* const map = settingsOf(object_.get());
  if (map == nullptr) return ENOENT;
  if (count > bpf_map__value_size(map)) return E2BIG;
  settings_.assign(bytes, bytes + count);
  if (bpf_map__fd(map) < 0) return 0;
  // The initial value is not the live map: only an update of its one element reaches the programs.
  const std::uint32_t key = 0;
  std::vector<std::uint8_t> value(bpf_map__value_size(map));
  if (bpf_map_lookup_elem(bpf_map__fd(map), &key, value.data()) != 0) return errno;
  std::memcpy(value.data(), bytes, count);
  return bpf_map_update_elem(bpf_map__fd(map), &key, value.data(), BPF_ANY) == 0 ? 0 : errno;
}

}  // namespace headwater::kernel
