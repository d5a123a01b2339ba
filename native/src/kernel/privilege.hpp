// Rights of threads: what is not needed any more is given up, for good.
#pragma once

#include <cstdint>

namespace headwater::kernel {

// Sets of capabilities: bit n is capability number n of <linux/capability.h>.
using Capabilities = std::uint64_t;

struct Privileges {
  // Of this thread, now.
  Capabilities held = 0;
  // errno (positive) of what failed on any thread, 0 when nothing did.
  int failed = 0;
  std::uint32_t threads = 0;
  // Threads that block every signal, or did not answer in time: they keep what they had. Node has one such thread, which only waits.
  std::uint32_t unreached = 0;
};

// The kernel keeps rights for each thread, so each thread gives up its own: this one keeps `here` of what it has, all others `elsewhere`.
// None of them, nor what they start, can gain rights again (no_new_privs).
Privileges dropPrivileges(Capabilities here, Capabilities elsewhere);

// What this thread may do now; nothing where the kernel does not tell.
Capabilities heldCapabilities();

}  // namespace headwater::kernel
