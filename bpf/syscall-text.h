/* SPDX-License-Identifier: (GPL-2.0 OR Apache-2.0) */
/* Which arguments of a syscall are text: paths by their position, or the arguments of a new program. Numbers of x86, 64 and 32 bit. */
#ifndef HEADWATER_SYSCALL_TEXT_H
#define HEADWATER_SYSCALL_TEXT_H

#include "event.h"

#if !defined(__TARGET_ARCH_x86)
#error "the numbers of syscalls are known for x86 only"
#endif

enum text_kind {
	TEXT_NONE = 0,
	TEXT_PATH_0 = 1,
	TEXT_PATH_1 = 2,
	TEXT_PATHS_0_1 = 3,
	TEXT_PATHS_0_2 = 4,
	TEXT_PATHS_1_3 = 5,
	TEXT_EXEC = 6,
	TEXT_EXEC_AT = 7,
	TEXT_NO_RETURN = 8, /* not a text: exit and exit_group, which end at their entry */
};

static const __u8 text_kinds[HW_SYSCALLS_MAX] = {
	[2] = TEXT_PATH_0,      /* open */
	[4] = TEXT_PATH_0,      /* stat */
	[6] = TEXT_PATH_0,      /* lstat */
	[21] = TEXT_PATH_0,     /* access */
	[59] = TEXT_EXEC,       /* execve */
	[60] = TEXT_NO_RETURN,  /* exit */
	[76] = TEXT_PATH_0,     /* truncate */
	[80] = TEXT_PATH_0,     /* chdir */
	[82] = TEXT_PATHS_0_1,  /* rename */
	[83] = TEXT_PATH_0,     /* mkdir */
	[84] = TEXT_PATH_0,     /* rmdir */
	[85] = TEXT_PATH_0,     /* creat */
	[86] = TEXT_PATHS_0_1,  /* link */
	[87] = TEXT_PATH_0,     /* unlink */
	[88] = TEXT_PATHS_0_1,  /* symlink */
	[89] = TEXT_PATH_0,     /* readlink */
	[90] = TEXT_PATH_0,     /* chmod */
	[92] = TEXT_PATH_0,     /* chown */
	[94] = TEXT_PATH_0,     /* lchown */
	[132] = TEXT_PATH_0,    /* utime */
	[133] = TEXT_PATH_0,    /* mknod */
	[137] = TEXT_PATH_0,    /* statfs */
	[155] = TEXT_PATHS_0_1, /* pivot_root */
	[161] = TEXT_PATH_0,    /* chroot */
	[165] = TEXT_PATHS_0_1, /* mount */
	[166] = TEXT_PATH_0,    /* umount2 */
	[188] = TEXT_PATHS_0_1, /* setxattr */
	[191] = TEXT_PATHS_0_1, /* getxattr */
	[192] = TEXT_PATHS_0_1, /* lgetxattr */
	[231] = TEXT_NO_RETURN, /* exit_group */
	[235] = TEXT_PATH_0,    /* utimes */
	[254] = TEXT_PATH_1,    /* inotify_add_watch */
	[257] = TEXT_PATH_1,    /* openat */
	[258] = TEXT_PATH_1,    /* mkdirat */
	[259] = TEXT_PATH_1,    /* mknodat */
	[260] = TEXT_PATH_1,    /* fchownat */
	[261] = TEXT_PATH_1,    /* futimesat */
	[262] = TEXT_PATH_1,    /* newfstatat */
	[263] = TEXT_PATH_1,    /* unlinkat */
	[264] = TEXT_PATHS_1_3, /* renameat */
	[265] = TEXT_PATHS_1_3, /* linkat */
	[266] = TEXT_PATHS_0_2, /* symlinkat */
	[267] = TEXT_PATH_1,    /* readlinkat */
	[268] = TEXT_PATH_1,    /* fchmodat */
	[269] = TEXT_PATH_1,    /* faccessat */
	[280] = TEXT_PATH_1,    /* utimensat */
	[316] = TEXT_PATHS_1_3, /* renameat2 */
	[322] = TEXT_EXEC_AT,   /* execveat */
	[332] = TEXT_PATH_1,    /* statx */
	[437] = TEXT_PATH_1,    /* openat2 */
	[439] = TEXT_PATH_1,    /* faccessat2 */
	[452] = TEXT_PATH_1,    /* fchmodat2 */
};

static const __u8 text_kinds_compat[HW_SYSCALLS_MAX] = {
	[1] = TEXT_NO_RETURN,   /* exit */
	[5] = TEXT_PATH_0,      /* open */
	[8] = TEXT_PATH_0,      /* creat */
	[9] = TEXT_PATHS_0_1,   /* link */
	[10] = TEXT_PATH_0,     /* unlink */
	[11] = TEXT_EXEC,       /* execve */
	[12] = TEXT_PATH_0,     /* chdir */
	[15] = TEXT_PATH_0,     /* chmod */
	[33] = TEXT_PATH_0,     /* access */
	[38] = TEXT_PATHS_0_1,  /* rename */
	[39] = TEXT_PATH_0,     /* mkdir */
	[40] = TEXT_PATH_0,     /* rmdir */
	[83] = TEXT_PATHS_0_1,  /* symlink */
	[85] = TEXT_PATH_0,     /* readlink */
	[106] = TEXT_PATH_0,    /* stat */
	[107] = TEXT_PATH_0,    /* lstat */
	[195] = TEXT_PATH_0,    /* stat64 */
	[196] = TEXT_PATH_0,    /* lstat64 */
	[252] = TEXT_NO_RETURN, /* exit_group */
	[295] = TEXT_PATH_1,    /* openat */
	[296] = TEXT_PATH_1,    /* mkdirat */
	[300] = TEXT_PATH_1,    /* fstatat64 */
	[301] = TEXT_PATH_1,    /* unlinkat */
	[302] = TEXT_PATHS_1_3, /* renameat */
	[303] = TEXT_PATHS_1_3, /* linkat */
	[304] = TEXT_PATHS_0_2, /* symlinkat */
	[305] = TEXT_PATH_1,    /* readlinkat */
	[306] = TEXT_PATH_1,    /* fchmodat */
	[307] = TEXT_PATH_1,    /* faccessat */
	[353] = TEXT_PATHS_1_3, /* renameat2 */
	[358] = TEXT_EXEC_AT,   /* execveat */
	[383] = TEXT_PATH_1,    /* statx */
	[437] = TEXT_PATH_1,    /* openat2 */
	[439] = TEXT_PATH_1,    /* faccessat2 */
};

static __always_inline __u32 text_kind(__u32 number)
{
	__u32 index = number & (HW_SYSCALLS_MAX - 1);

	return number & HW_SYSCALL_COMPAT ? text_kinds_compat[index] : text_kinds[index];
}

/* Argument of a syscall, from 0. The registers still hold them at the exit, all but the number's. */
static __always_inline __u64 argument(struct pt_regs *regs, __u32 number, __u32 position)
{
	if (number & HW_SYSCALL_COMPAT) {
		switch (position) {
		case 0:
			return (__u32)regs->bx;
		case 1:
			return (__u32)regs->cx;
		case 2:
			return (__u32)regs->dx;
		default:
			return (__u32)regs->si;
		}
	}
	switch (position) {
	case 0:
		return regs->di;
	case 1:
		return regs->si;
	case 2:
		return regs->dx;
	default:
		return regs->r10;
	}
}

#endif
