/** A C program that makes the calls that are easy to miss; deterministic, and without a shell. */
export const trickyProgram = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void on_alarm(int number) { (void)number; }
static void *thread(void *unused) { syscall(SYS_getppid); usleep(1000); return 0; }
static long compat(long number, const char *path, long flags) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(path), "c"(flags), "d"(0) : "memory", "r8", "r9", "r10", "r11");
  return result;
}

/* The state of a process in /proc is one of these: no fixed time is long enough on a busy machine. */
static void wait_for_state(int process, const char *states) {
  char path[64], text[256];
  snprintf(path, sizeof path, "/proc/%d/stat", process);
  for (;;) {
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    char *state = strrchr(text, ')');
    if (state && strchr(states, state[2])) return;
    usleep(1000);
  }
}

int main(int count, char **arguments) {
  if (count > 1 && strcmp(arguments[1], "again") == 0) _exit(count);
  struct sigaction action = { .sa_handler = on_alarm };
  sigaction(SIGALRM, &action, 0);
  struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
  struct timespec longer = { .tv_nsec = 60000000 };
  struct timespec longest = { .tv_nsec = 300000000 };

  open("/nowhere/a file", O_RDONLY);
  rename("/nowhere/from", "/nowhere/to");
  struct stat status;
  stat("/etc/passwd", &status);
  syscall(SYS_openat, AT_FDCWD, (char *)16, 0);
  compat(5, "/etc/hostname", 0);
  compat(33, "/nowhere/compat", 0);

  setitimer(ITIMER_REAL, &soon, 0); /* interrupted by a handler: EINTR, rt_sigreturn */
  nanosleep(&longer, 0);

  if (vfork() == 0) { execl("/nowhere/program", "program", "x", (char *)0); _exit(3); }
  if (vfork() == 0) { char *next[] = { arguments[0], "again", "two words", 0 }; execve(arguments[0], next, 0); _exit(4); }
  int child = fork();
  if (child == 0) { pause(); _exit(0); }
  wait_for_state(child, "S");
  kill(child, SIGKILL);
  while (wait(0) > 0) ;

  int stopped = fork(); /* stopped and continued inside of nanosleep: restart_syscall */
  if (stopped == 0) { nanosleep(&longest, 0); _exit(0); }
  wait_for_state(stopped, "S");
  kill(stopped, SIGSTOP);
  wait_for_state(stopped, "Tt");
  kill(stopped, SIGCONT);
  wait(0);

  pthread_t threads[4];
  for (int index = 0; index < 4; index++) pthread_create(&threads[index], 0, thread, 0);
  for (int index = 0; index < 4; index++) pthread_join(threads[index], 0);
  return 0;
}
`;

/** Makes so many calls of each kind, two of which no shell or loader makes: `PROGRAM COUNT`. */
export const countedProgram = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **arguments) {
  struct timespec pause = { .tv_nsec = 20000000 };
  int times = atoi(arguments[1]);
  for (int index = 0; index < times; index++) {
    syscall(SYS_sched_yield);
    syscall(SYS_truncate, "/nowhere/counted", 0);
    syscall(SYS_openat, AT_FDCWD, "/nowhere/counted", O_RDONLY, 0);
  }
  nanosleep(&pause, 0);
  return 0;
}
`;
