/* Each prints a line: what it tried, and "done" or the name of the error. The prelude is conftest.py's. */

#include <grp.h>
#include <sys/sysmacros.h>
#define probe(name, call) do { errno = 0; long r_ = (long)(call); say(name, r_); fflush(stdout); } while (0)
#define call(name, ...) probe(name, syscall(__VA_ARGS__))
#define forked(name, ...) do { fflush(stdout); long r_ = syscall(__VA_ARGS__); if (r_ == 0) _exit(0); say(name, r_); fflush(stdout);     if (r_ > 0) waitpid(r_, 0, __WALL); } while (0)
static char zeros[4096];
static int child(void *nothing) { return 0; }
static void clone_with(const char *name, long flags) { forked(name, SYS_clone, flags | SIGCHLD, 0, 0, 0, 0); }
static void device(const char *name, int kind, int major, int minor) {
    char path[64], title[80];
    snprintf(path, sizeof path, "/dev-%s", name);
    snprintf(title, sizeof title, "open device %s", name);
    mknod(path, kind | 0666, makedev(major, minor));
    probe(title, open(path, O_RDWR | O_NONBLOCK));
    unlink(path);
}
static void ioctls(void) {
    char letter = 'x', linux_call[] = {2, 0};
    for (int shift = 0; shift < 2; shift++) {
        unsigned long high = shift ? 0xdeadbeef00000000UL : 0;
        call(shift ? "TIOCSTI, high bits set" : "TIOCSTI", SYS_ioctl, 0, high | 0x5412, &letter);
        call(shift ? "TIOCLINUX, high bits set" : "TIOCLINUX", SYS_ioctl, 0, high | 0x541c, linux_call);
    }
    probe("TIOCCONS", ioctl(0, 0x541d, 0));
}
static void files_for_writing(const char *place, int depth) {
    DIR *all = opendir(place);
    if (!all) return;
    for (struct dirent *entry; (entry = readdir(all));) {
        char path[4096], title[4200];
        if (entry->d_name[0] == '.' || entry->d_type == DT_LNK) continue;
        if (!strcmp(place, "/proc") && (atoi(entry->d_name) || !strcmp(entry->d_name, "self") || !strcmp(entry->d_name, "thread-self"))) continue;
        snprintf(path, sizeof path, "%s/%s", place, entry->d_name);
        struct stat facts;
        if (lstat(path, &facts)) continue;
        if (S_ISDIR(facts.st_mode)) { if (depth) files_for_writing(path, depth - 1); continue; }
        if (S_ISCHR(facts.st_mode)) continue; /* a mask */
        int file = open(path, O_WRONLY | O_NONBLOCK);
        if (file >= 0) { snprintf(title, sizeof title, "write:%s", path); say(title, 0); close(file); }
        else if (!strncmp(place, "/sys/fs/cgroup", 14) || !strcmp(place, "/proc/sys/kernel")) { snprintf(title, sizeof title, "write:%s", path); say(title, -1); }
    }
    closedir(all);
}
static void contents(const char *path) {
    char title[200], byte[64];
    snprintf(title, sizeof title, "read:%s", path);
    int file = open(path, O_RDONLY | O_NONBLOCK);
    long got = file < 0 ? -1 : read(file, byte, sizeof byte);
    if (file >= 0 && got == 0) { errno = ENODATA; got = -1; }
    say(title, got);
}
int main(int count, char **words) {
    struct clone_args wanted = {.exit_signal = SIGCHLD}, hidden = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    forked("clone3", SYS_clone3, &wanted, sizeof wanted);
    forked("clone3 new user namespace", SYS_clone3, &hidden, sizeof hidden);
    clone_with("clone new user namespace", CLONE_NEWUSER);
    clone_with("clone new mount namespace", CLONE_NEWNS);
    clone_with("clone new pid namespace", CLONE_NEWPID);
    clone_with("clone new network namespace", CLONE_NEWNET);
    clone_with("clone new uts namespace", CLONE_NEWUTS);
    clone_with("clone new ipc namespace", CLONE_NEWIPC);
    clone_with("clone new cgroup namespace", CLONE_NEWCGROUP);
    clone_with("clone a plain process", 0);
    call("unshare user", SYS_unshare, CLONE_NEWUSER);
    call("unshare mount", SYS_unshare, CLONE_NEWNS);
    call("unshare network", SYS_unshare, CLONE_NEWNET);
    call("unshare time", SYS_unshare, 0x80);
    call("unshare nothing but files", SYS_unshare, CLONE_FILES);
    call("an unknown new system call", 470);
    call("a far unknown system call", 1000);
    call("an x32 system call", 0x40000000 | 39);
    for (char **kind = (char *[]){"mnt", "user", "pid", "net", "ipc", "uts", "cgroup", 0}; *kind; kind++) {
        char path[64], title[64];
        snprintf(path, sizeof path, "/proc/1/ns/%s", *kind);
        snprintf(title, sizeof title, "setns %s of process 1", *kind);
        int file = open(path, O_RDONLY);
        call(title, SYS_setns, file, 0);
        close(file);
    }
    call("setns by pidfd", SYS_setns, syscall(SYS_pidfd_open, 1, 0), CLONE_NEWNS | CLONE_NEWPID);
    probe("mount tmpfs", mount("none", "/mnt", "tmpfs", 0, 0));
    probe("mount proc anew", mount("proc", "/mnt", "proc", 0, 0));
    probe("mount cgroup v1 (release_agent)", mount("cgroup", "/mnt", "cgroup", 0, "memory"));
    probe("mount cgroup v1, none (release_agent)", mount("cgroup", "/mnt", "cgroup", 0, "none,name=hostile"));
    probe("mount devtmpfs", mount("dev", "/mnt", "devtmpfs", 0, 0));
    probe("bind", mount("/proc", "/mnt", 0, MS_BIND, 0));
    probe("remount the root with devices", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    probe("remount /proc/sys writable", mount(0, "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0));
    probe("remount /sys writable", mount(0, "/sys", 0, MS_REMOUNT, 0));
    probe("move a mask", mount("/proc/keys", "/mnt", 0, MS_MOVE, 0));
    probe("make propagation shared", mount(0, "/", 0, MS_SHARED | MS_REC, 0));
    probe("umount a mask", umount2("/proc/keys", MNT_DETACH));
    probe("umount /proc/sys", umount2("/proc/sys", MNT_DETACH));
    probe("umount /dev", umount2("/dev", MNT_DETACH));
    call("open_tree", SYS_open_tree, AT_FDCWD, "/proc", 1);
    call("move_mount", SYS_move_mount, AT_FDCWD, "/proc/keys", AT_FDCWD, "/mnt", 0);
    call("mount_setattr", SYS_mount_setattr, AT_FDCWD, "/proc/sys", 0, zeros, 32);
    call("fsopen", SYS_fsopen, "proc", 0);
    call("fspick", SYS_fspick, AT_FDCWD, "/sys", 0);
    call("fsmount", SYS_fsmount, 0, 0, 0);
    call("pivot_root", SYS_pivot_root, ".", ".");
    call("swapon", SYS_swapon, "/x", 0);
    call("quotactl", SYS_quotactl, 0, 0, 0, 0);
    int handle[34] = {128};
    int mount_id;
    name_to_handle_at(AT_FDCWD, "/", (void *)handle, &mount_id, 0);
    call("open_by_handle_at (shocker)", SYS_open_by_handle_at, open("/", O_RDONLY), handle, O_RDONLY);
    probe("chroot", chroot("/"));
    probe("ptrace process 1", ptrace(PTRACE_ATTACH, 1, 0, 0));
    call("process_vm_readv process 1 of the host", SYS_process_vm_readv, getppid(), 0, 0, 0, 0, 1);
    call("kcmp", SYS_kcmp, 1, getpid(), 0, 0, 0);
    device("memory", S_IFCHR, 1, 1);
    device("kmsg", S_IFCHR, 1, 11);
    device("disk", S_IFBLK, 254, 0);
    device("sda", S_IFBLK, 8, 0);
    device("console", S_IFCHR, 5, 1);
    device("tty1", S_IFCHR, 4, 1);
    device("fuse", S_IFCHR, 10, 229);
    device("kvm", S_IFCHR, 10, 232);
    device("loop", S_IFBLK, 7, 0);
    device("tun", S_IFCHR, 10, 200);
    device("port", S_IFCHR, 1, 4);
    probe("open /dev/mem", open("/dev/mem", O_RDWR));
    probe("open /dev/kmsg", open("/dev/kmsg", O_RDWR));
    call("iopl", SYS_iopl, 3);
    call("ioperm", SYS_ioperm, 0, 1, 1);
    call("bpf", SYS_bpf, 0, zeros, 48);
    call("bpf program", SYS_bpf, 5, zeros, 48);
    char events[128] = {1, 0, 0, 0, 128};
    call("perf_event_open", SYS_perf_event_open, events, 0, -1, -1, 0);
    call("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
    call("kexec_file_load", SYS_kexec_file_load, -1, -1, 0, 0, 0);
    call("init_module", SYS_init_module, zeros, 0, "");
    call("finit_module", SYS_finit_module, -1, "", 0);
    call("delete_module", SYS_delete_module, "x", 0);
    call("reboot", SYS_reboot, 0, 0, 0, 0);
    call("io_uring_setup", SYS_io_uring_setup, 1, zeros);
    call("io_uring_enter", SYS_io_uring_enter, -1, 0, 0, 0, 0, 0);
    call("userfaultfd", SYS_userfaultfd, 1);
    call("personality READ_IMPLIES_EXEC", SYS_personality, 0x0400000);
    call("syslog", SYS_syslog, 3, zeros, 10);
    call("acct", SYS_acct, 0);
    call("lookup_dcookie", SYS_lookup_dcookie, 0, 0, 0);
    call("settimeofday", SYS_settimeofday, zeros, 0);
    call("clock_settime", SYS_clock_settime, 0, zeros);
    call("sethostname", SYS_sethostname, "x", 1);
    call("setdomainname", SYS_setdomainname, "x", 1);
    call("vhangup", SYS_vhangup);
    call("nfsservctl", SYS_nfsservctl, 0, 0, 0);
    call("uselib", SYS_uselib, "/bin/true");
    call("ustat", SYS_ustat, 0, zeros);
    call("sysfs", SYS_sysfs, 3);
    call("fanotify_init", SYS_fanotify_init, 0, 0);
    call("set_mempolicy", SYS_set_mempolicy, 0, 0, 0);
    call("mbind", SYS_mbind, 0, 0, 0, 0, 0, 0);
    call("move_pages", SYS_move_pages, 0, 0, 0, 0, 0, 0);
    call("keyctl session", SYS_keyctl, 0, -3, 1);
    call("keyctl join", SYS_keyctl, 1, 0);
    call("add_key", SYS_add_key, "user", "x", "y", 1, -3);
    call("request_key", SYS_request_key, "user", "x", 0, -3);
    probe("socket AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0));
    probe("socket AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
    call("socket AF_ALG, high bits set", SYS_socket, 1L << 32 | AF_ALG, SOCK_SEQPACKET, 0);
    call("socket AF_VSOCK, high bits set", SYS_socket, 1L << 32 | AF_VSOCK, SOCK_STREAM, 0);
    probe("socket AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0));
    probe("socket AF_NETLINK audit", socket(AF_NETLINK, SOCK_RAW, 9));
    probe("socket AF_XDP", socket(44, SOCK_RAW, 0));
    probe("socket AF_BLUETOOTH", socket(31, SOCK_RAW, 1));
    struct rlimit more; /* from one below what it has: above nr_open not even the host's root gets any */
    getrlimit(RLIMIT_NOFILE, &more);
    more.rlim_cur = --more.rlim_max;
    probe("lower a hard limit", setrlimit(RLIMIT_NOFILE, &more));
    more.rlim_max++;
    probe("raise a hard limit", setrlimit(RLIMIT_NOFILE, &more));
    probe("raise priority", setpriority(PRIO_PROCESS, 0, -10));
    struct sched_param real_time = {10};
    probe("real-time scheduling", sched_setscheduler(0, SCHED_FIFO, &real_time));
    probe("set the network's host name", sethostname("x", 1));
    int foreign[1] = {100000};
    probe("setgroups to one's own ids", setgroups(1, (gid_t *)zeros));
    probe("setgroups to an id that is not mapped", setgroups(1, foreign));
    long header[2] = {0x20080522, 0}; unsigned full[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    call("capset everything", SYS_capset, header, full);
    probe("add an inheritable capability", prctl(PR_CAP_AMBIENT, 2, 21, 0, 0));
    probe("clear no_new_privs", prctl(38, 0, 0, 0, 0));
    ioctls();
    contents("/proc/kcore");
    contents("/proc/keys");
    contents("/proc/timer_list");
    contents("/proc/sched_debug");
    contents("/proc/interrupts");
    contents("/proc/kmsg");
    contents("/proc/1/environ");
    contents("/proc/latency_stats");
    contents("/proc/acpi/wakeup");
    contents("/proc/slabinfo");
    contents("/proc/vmallocinfo");
    contents("/proc/pagetypeinfo");
    contents("/proc/kpageflags");
    contents("/sys/firmware/dmi/tables/DMI");
    contents("/sys/kernel/debug/sched/debug");
    contents("/sys/kernel/tracing/trace");
    contents("/sys/kernel/notes");
    contents("/sys/kernel/vmcoreinfo");
    contents("/sys/devices/virtual/powercap/intel-rapl/enabled");
    contents("/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count");
    files_for_writing("/proc", 6); files_for_writing("/sys", 7);
    probe("setuid to an id that is not mapped", setuid(3000000000u));
    /* last: Docker allows it */
}
