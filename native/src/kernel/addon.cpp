// The class `Probe` of the addon: takes JavaScript's values apart, calls, puts the answers together. `native/kernel-probe.ts` is its face.
//
// A thread that is being ended cannot be told of an error: every call into JavaScript fails then, the one that throws included. Without this
// word such an error would leave a C function as a C++ exception and end the whole process.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

#include "map.hpp"
#include "privilege.hpp"
#include "probe.hpp"
#include "words.hpp"

namespace headwater::kernel {
namespace {

constexpr std::size_t ringsWaitedForMax = 16;

[[noreturn]] void refuse(Napi::Env env, const std::string& text) { throw Napi::Error::New(env, text); }

Sizes sizesFrom(const Napi::Value& given) {
  Sizes sizes;
  const auto object = given.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  for (std::uint32_t index = 0; index < names.Length(); index += 1) {
    const std::string name = names.Get(index).ToString().Utf8Value();
    sizes[name] = object.Get(name).As<Napi::Number>().Uint32Value();
  }
  return sizes;
}

class ProbeWrap : public Napi::ObjectWrap<ProbeWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Probe",
                       {InstanceMethod<&ProbeWrap::open>("open"), InstanceMethod<&ProbeWrap::load>("load"),
                        InstanceMethod<&ProbeWrap::attach>("attach"), InstanceMethod<&ProbeWrap::attachOne>("attachOne"),
                        InstanceMethod<&ProbeWrap::detach>("detach"), InstanceMethod<&ProbeWrap::writeSettings>("writeSettings"),
                        InstanceMethod<&ProbeWrap::updateMap>("updateMap"), InstanceMethod<&ProbeWrap::deleteFromMap>("deleteFromMap"),
                        InstanceMethod<&ProbeWrap::dump>("dumpMap"), InstanceMethod<&ProbeWrap::takeIdle>("takeIdle"),
                        InstanceMethod<&ProbeWrap::drain>("drain"),
                        InstanceMethod<&ProbeWrap::waiting>("waiting"), InstanceMethod<&ProbeWrap::waitReadable>("waitReadable"),
                        InstanceMethod<&ProbeWrap::runIterator>("runIterator"), InstanceMethod<&ProbeWrap::runProgram>("runProgram"),
                        InstanceMethod<&ProbeWrap::enableStats>("enableStats"), InstanceMethod<&ProbeWrap::disableStats>("disableStats"),
                        InstanceMethod<&ProbeWrap::objects>("objects"), InstanceMethod<&ProbeWrap::programs>("programs"),
                        InstanceMethod<&ProbeWrap::hasMap>("hasMap"), InstanceMethod<&ProbeWrap::close>("close")});
  }

  explicit ProbeWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProbeWrap>(info) {}

 private:
  // open(names and paths as a flat array, sizes, wanted(name) or undefined)
  void open(const Napi::CallbackInfo& info) {
    std::vector<std::pair<std::string, std::string>> objects;
    const auto list = info[0].As<Napi::Array>();
    for (std::uint32_t index = 0; index + 1 < list.Length(); index += 2) {
      objects.emplace_back(list.Get(index).ToString().Utf8Value(), list.Get(index + 1).ToString().Utf8Value());
    }
    probe_.open(objects, sizesFrom(info[1]), [&info](const std::string& name) {
      if (!info[2].IsFunction()) return true;
      return info[2].As<Napi::Function>().Call({Napi::String::New(info.Env(), name)}).ToBoolean().Value();
    });
  }

  void load(const Napi::CallbackInfo&) { probe_.load(); }
  void attach(const Napi::CallbackInfo&) { probe_.attachAll(); }
  void attachOne(const Napi::CallbackInfo& info) { probe_.attach(program(info)); }
  void detach(const Napi::CallbackInfo& info) { Probe::detach(program(info)); }

  void writeSettings(const Napi::CallbackInfo& info) {
    const std::string name = info[0].ToString().Utf8Value();
    const auto bytes = info[1].As<Napi::Uint8Array>();
    ProbeObject* const object = probe_.object(name);
    if (object == nullptr) refuse(info.Env(), "there is no object " + name);
    const int failed = object->writeSettings(bytes.Data(), bytes.ByteLength());
    if (failed != 0) refuse(info.Env(), "settings of " + name + " cannot be written: " + errnoInWords(failed));
  }

  void updateMap(const Napi::CallbackInfo& info) {
    const Map& map = this->map(info);
    const auto key = sized(info, 1, map.keyBytes);
    const auto value = sized(info, 2, map.valueBytes);
    const int failed = kernel::updateMap(map, key.Data(), value.Data());
    if (failed != 0) refuse(info.Env(), "map " + map.name + " cannot be written: " + errnoInWords(failed));
  }

  void deleteFromMap(const Napi::CallbackInfo& info) {
    const Map& map = this->map(info);
    const int failed = kernel::deleteFromMap(map, sized(info, 1, map.keyBytes).Data());
    if (failed != 0) refuse(info.Env(), "map " + map.name + " cannot be written: " + errnoInWords(failed));
  }

  Napi::Value hasMap(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), probe_.map(info[0].ToString().Utf8Value()) != nullptr);
  }

  Napi::Value dump(const Napi::CallbackInfo& info) {
    const Map& map = this->map(info);
    auto into = info[1].As<Napi::ArrayBuffer>();
    const Dump dump = kernel::dumpMap(map, static_cast<std::uint8_t*>(into.Data()), into.ByteLength());
    if (dump.failed != 0) refuse(info.Env(), "map " + map.name + " cannot be read: " + errnoInWords(dump.failed));
    last_ = dump;
    lastMap_ = map.name;
    Napi::Object answer = Napi::Object::New(info.Env());
    answer["entries"] = Napi::Number::New(info.Env(), dump.entries);
    answer["keyBytes"] = Napi::Number::New(info.Env(), dump.keyBytes);
    answer["valueBytes"] = Napi::Number::New(info.Env(), dump.valueBytes);
    answer["cpus"] = Napi::Number::New(info.Env(), dump.cpus);
    answer["left"] = Napi::Boolean::New(info.Env(), dump.left);
    return answer;
  }

  // takeIdle(map, the buffer that it was dumped into by the call before, readings)
  Napi::Value takeIdle(const Napi::CallbackInfo& info) {
    const Map& map = this->map(info);
    auto dumped = info[1].As<Napi::ArrayBuffer>();
    const std::size_t entryBytes = last_.keyBytes + static_cast<std::size_t>(last_.valueBytes) * last_.cpus;
    if (lastMap_ != map.name || last_.entries * entryBytes > dumped.ByteLength()) refuse(info.Env(), "map " + map.name + " is not what was dumped last");
    const std::vector<std::uint8_t> taken = probe_.idle(map.name).takeOut(map, static_cast<const std::uint8_t*>(dumped.Data()), last_,
                                                                         info[2].As<Napi::Number>().Uint32Value());
    auto bytes = Napi::Uint8Array::New(info.Env(), taken.size());
    std::copy(taken.begin(), taken.end(), bytes.Data());
    return bytes;
  }

  Napi::Value drain(const Napi::CallbackInfo& info) {
    auto into = info[1].As<Napi::ArrayBuffer>();
    const std::int64_t bytes = ring(info, info[0]).drain(static_cast<std::uint8_t*>(into.Data()), into.ByteLength());
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  }

  Napi::Value waiting(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(ring(info, info[0]).waiting()));
  }

  // waitReadable(names of rings, milliseconds): blocks this thread.
  Napi::Value waitReadable(const Napi::CallbackInfo& info) {
    const auto names = info[0].As<Napi::Array>();
    pollfd waits[ringsWaitedForMax];
    if (names.Length() > ringsWaitedForMax) refuse(info.Env(), "too many rings to wait for");
    for (std::uint32_t index = 0; index < names.Length(); index += 1) {
      const Napi::Value name = names.Get(index);
      waits[index] = pollfd{.fd = ring(info, name).fd(), .events = POLLIN, .revents = 0};
    }
    const int ready = poll(waits, names.Length(), info[1].As<Napi::Number>().Int32Value());
    return Napi::Boolean::New(info.Env(), ready > 0);
  }

  Napi::Value runIterator(const Napi::CallbackInfo& info) {
    Program& program = this->program(info);
    const Map* walked = nullptr;
    if (info[1].IsString()) {
      const std::string name = info[1].ToString().Utf8Value();
      walked = probe_.map(name);
      if (walked == nullptr) refuse(info.Env(), "no loaded object has a map " + name);
    }
    const IteratorText text = probe_.runIterator(program, walked);
    Napi::Object answer = Napi::Object::New(info.Env());
    answer["failed"] = Napi::Number::New(info.Env(), text.failed);
    answer["left"] = Napi::Boolean::New(info.Env(), text.left);
    auto bytes = Napi::Uint8Array::New(info.Env(), text.bytes.size());
    std::copy(text.bytes.begin(), text.bytes.end(), bytes.Data());
    answer["bytes"] = bytes;
    return answer;
  }

  Napi::Value runProgram(const Napi::CallbackInfo& info) {
    Program& program = this->program(info);
    auto context = info[1].As<Napi::Uint8Array>();
    const std::int64_t result = Probe::run(program, context.Data(), context.ByteLength());
    if (result < 0) refuse(info.Env(), "program " + program.name + " cannot be run: " + errnoInWords(static_cast<int>(-result)));
    return Napi::Number::New(info.Env(), static_cast<double>(result));
  }

  void enableStats(const Napi::CallbackInfo& info) {
    const int failed = probe_.enableStatistics();
    if (failed != 0) refuse(info.Env(), "the kernel does not count the runs of programs: " + errnoInWords(failed));
  }

  void disableStats(const Napi::CallbackInfo&) { probe_.disableStatistics(); }

  Napi::Value objects(const Napi::CallbackInfo& info) {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const auto& object : probe_.objects()) {
      Napi::Object row = Napi::Object::New(info.Env());
      row["name"] = Napi::String::New(info.Env(), object->name());
      row["path"] = Napi::String::New(info.Env(), object->path());
      row["errno"] = Napi::Number::New(info.Env(), object->failed());
      row["reason"] = Napi::String::New(info.Env(), object->failure());
      list[list.Length()] = row;
    }
    return list;
  }

  Napi::Value programs(const Napi::CallbackInfo& info) {
    Napi::Array list = Napi::Array::New(info.Env());
    for (const auto& object : probe_.objects()) {
      for (const Program& program : object->programs()) list[list.Length()] = describe(info.Env(), object->name(), program);
    }
    return list;
  }

  static Napi::Object describe(Napi::Env env, const std::string& object, const Program& program) {
    const RunStatistics statistics = Probe::statistics(program);
    Napi::Object row = Napi::Object::New(env);
    row["name"] = Napi::String::New(env, program.name);
    row["object"] = Napi::String::New(env, object);
    row["section"] = Napi::String::New(env, program.section);
    row["wanted"] = Napi::Boolean::New(env, program.wanted);
    row["loaded"] = Napi::Boolean::New(env, program.loaded != nullptr);
    row["attached"] = Napi::Boolean::New(env, program.link != nullptr);
    row["errno"] = Napi::Number::New(env, program.failed);
    row["reason"] = Napi::String::New(env, program.reason);
    row["verifierLog"] = Napi::String::New(env, program.verifierLog);
    row["runCount"] = Napi::Number::New(env, static_cast<double>(statistics.runCount));
    row["runNs"] = Napi::Number::New(env, static_cast<double>(statistics.runNs));
    row["missed"] = Napi::Number::New(env, static_cast<double>(statistics.missed));
    return row;
  }

  void close(const Napi::CallbackInfo&) { probe_.close(); }

  Program& program(const Napi::CallbackInfo& info) {
    const std::string name = info[0].ToString().Utf8Value();
    Program* const found = probe_.program(name);
    if (found == nullptr) refuse(info.Env(), "there is no program " + name);
    return *found;
  }

  const Map& map(const Napi::CallbackInfo& info) {
    const std::string name = info[0].ToString().Utf8Value();
    const Map* const found = probe_.map(name);
    if (found == nullptr) refuse(info.Env(), "no loaded object has a map " + name);
    return *found;
  }

  Ring& ring(const Napi::CallbackInfo& info, const Napi::Value& given) {
    const std::string name = given.ToString().Utf8Value();
    std::string failure;
    Ring* const found = probe_.ring(name, failure);
    if (found == nullptr) refuse(info.Env(), "ring " + name + ": " + failure);
    return *found;
  }

  static Napi::Uint8Array sized(const Napi::CallbackInfo& info, std::size_t index, std::size_t bytes) {
    const auto given = info[index].As<Napi::Uint8Array>();
    if (given.ByteLength() != bytes) {
      refuse(info.Env(), "map " + info[0].ToString().Utf8Value() + " wants " + std::to_string(bytes) + " bytes, not " +
                             std::to_string(given.ByteLength()));
    }
    return given;
  }

  Probe probe_;
  // What was dumped last, and from which map.
  Dump last_;
  std::string lastMap_;
};

// The wall clock between two readings of the monotonic one; of a few tries the one with the least between them.
Napi::Value clockNow(const Napi::CallbackInfo& info) {
  constexpr int tries = 3;
  const auto nanoseconds = [](clockid_t clock) {
    timespec at{};
    clock_gettime(clock, &at);
    return static_cast<std::int64_t>(at.tv_sec) * 1'000'000'000 + at.tv_nsec;
  };
  std::int64_t least = INT64_MAX;
  std::int64_t offset = 0;
  std::int64_t wall = 0;
  for (int tried = 0; tried < tries; tried += 1) {
    const std::int64_t before = nanoseconds(CLOCK_MONOTONIC);
    const std::int64_t between = nanoseconds(CLOCK_REALTIME);
    const std::int64_t after = nanoseconds(CLOCK_MONOTONIC);
    if (after - before >= least) continue;
    least = after - before;
    wall = between;
    offset = between - (before + (after - before) / 2);
  }
  Napi::Object answer = Napi::Object::New(info.Env());
  answer["atMs"] = Napi::Number::New(info.Env(), static_cast<double>(wall) / 1e6);
  answer["offsetNs"] = Napi::Number::New(info.Env(), static_cast<double>(offset));
  return answer;
}

Napi::BigInt toBigInt(Napi::Env env, Capabilities set) { return Napi::BigInt::New(env, set); }

Capabilities fromBigInt(const Napi::Value& given) {
  bool lossless = true;
  return given.As<Napi::BigInt>().Uint64Value(&lossless);
}

// dropPrivileges(kept here, kept by all other threads)
Napi::Value drop(const Napi::CallbackInfo& info) {
  const Privileges result = dropPrivileges(fromBigInt(info[0]), fromBigInt(info[1]));
  Napi::Object answer = Napi::Object::New(info.Env());
  answer["held"] = toBigInt(info.Env(), result.held);
  answer["failed"] = Napi::Number::New(info.Env(), result.failed);
  answer["threads"] = Napi::Number::New(info.Env(), result.threads);
  answer["unreached"] = Napi::Number::New(info.Env(), result.unreached);
  return answer;
}

Napi::Value held(const Napi::CallbackInfo& info) { return toBigInt(info.Env(), heldCapabilities()); }

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  exports.Set("Probe", ProbeWrap::define(env));
  exports.Set("clock", Napi::Function::New<clockNow>(env, "clock"));
  exports.Set("dropPrivileges", Napi::Function::New<drop>(env, "dropPrivileges"));
  exports.Set("heldCapabilities", Napi::Function::New<held>(env, "heldCapabilities"));
  return exports;
}

NODE_API_MODULE(kernel, initialise)

}  // namespace
}  // namespace headwater::kernel
