#include "words.hpp"

#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <mutex>

namespace headwater::kernel {
namespace {

constexpr std::size_t messageBytesMax = 16'384;
// The kernel's own "not supported", which no C library knows.
constexpr int notSupportedInKernel = 524;

thread_local LibbpfMessages* current = nullptr;

// The verifier's log is kept in its own buffer already; what libbpf guesses about `ulimit -l` is wrong for any kernel since 5.11.
int keepMessage(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (current == nullptr || level == LIBBPF_DEBUG) return 0;
  char line[2'048];
  const int length = std::vsnprintf(line, sizeof(line), format, arguments);
  if (length <= 0 || std::strstr(line, "BEGIN PROG LOAD LOG") != nullptr || std::strstr(line, "ulimit -l") != nullptr) return 0;
  std::string_view text(line);
  constexpr std::string_view prefix = "libbpf: ";
  if (text.substr(0, prefix.size()) == prefix) text.remove_prefix(prefix.size());
  current->append(text);
  return 0;
}

const char* meaning(int number) {
  switch (number) {
    case EPERM:
      return "the kernel does not permit it: it is locked down for programs of this kind, or CAP_BPF and CAP_PERFMON are missing";
    case EACCES:
      return "the verifier refused the program, or a right is missing";
    case EINVAL:
      return "this kernel does not know it, or the verifier refused the program";
    case ENOENT:
      return "what it attaches to is not in this kernel";
    case ESRCH:
      return "this kernel's type information does not have what the program attaches to";
    case E2BIG:
      return "too large for this kernel";
    case ENOMEM:
      return "no memory for it";
    case ENOSPC:
      return "the verifier's log did not fit, or no space is left";
    case EOPNOTSUPP:
    case notSupportedInKernel:
      return "this kernel was built without it";
    case EBUSY:
      return "something else holds it";
    default:
      return nullptr;
  }
}

}  // namespace

std::string errnoInWords(int number) {
  const char* means = meaning(number);
  std::string words = number == notSupportedInKernel ? "Not supported" : std::strerror(number);
  if (means != nullptr) words.append(": ").append(means);
  return words;
}

std::string lastLines(std::string_view text, std::size_t linesMax, std::size_t bytesMax) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\0')) text.remove_suffix(1);
  std::size_t from = text.size();
  for (std::size_t lines = 0; from > 0 && lines < linesMax; lines += 1) {
    const std::size_t newline = text.rfind('\n', from - 1);
    const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
    if (text.size() - start > bytesMax) break;
    from = newline == std::string_view::npos ? 0 : newline;
  }
  if (from < text.size() && text[from] == '\n') from += 1;
  // One line that is longer than the bound is cut at its beginning rather than left out.
  if (from == text.size() && !text.empty()) from = text.size() > bytesMax ? text.size() - bytesMax : 0;
  return std::string(text.substr(from));
}

LibbpfMessages::LibbpfMessages() : outer_(current) {
  static std::once_flag once;
  std::call_once(once, [] { libbpf_set_print(keepMessage); });
  current = this;
}

LibbpfMessages::~LibbpfMessages() { current = outer_; }

void LibbpfMessages::append(std::string_view message) {
  if (text_.size() + message.size() <= messageBytesMax) text_.append(message);
}

}  // namespace headwater::kernel
