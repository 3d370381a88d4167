# SPDX-License-Identifier: Apache-2.0
# LABELS: kvm
# TIMEOUT: 180
"""migd-vmm without any migd: boot sector and payloads run on real KVM, and each end has its exit status."""
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = os.environ.get("MIGD_BUILD_DIR", "build/release")
VMM = os.path.join(BUILD, "bin", "migd-vmm")
HERE = os.path.dirname(os.path.abspath(__file__))
RESULT = 0x10000
RUNNING, FAILED, PASSED = 1, 2, 3
PATIENCE_S = 60


class VmmTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="migd-vmm-", dir="/dev/shm")
        self.vmms = []

    def tearDown(self):
        for vmm in self.vmms:
            if vmm.poll() is None:
                vmm.kill()
            vmm.communicate()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, *args, memory="64M", name="t", **popen):
        vmm = subprocess.Popen(
            [VMM, "--name", name, "--attach", self.path("nobody"), "--memory", memory, *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)
        self.vmms.append(vmm)
        return vmm

    def finish(self, vmm, status):
        out, err = vmm.communicate(timeout=PATIENCE_S)
        self.assertEqual(vmm.returncode, status, out + err)
        return out, err

    def wait_for(self, vmm, ready, what):
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            self.assertIsNone(vmm.poll(), f"migd-vmm ended before: {what}")
            self.assertLess(time.monotonic(), deadline, f"not within {PATIENCE_S} s: {what}")
            time.sleep(0.01)

    def result(self, path):
        """Status, heartbeat, checks, failures and details of the payload's result page."""
        with open(path, "rb") as f, mmap.mmap(f.fileno(), RESULT + 4096, prot=mmap.PROT_READ) as m:
            _, status, *rest = struct.unpack_from("<IIQQQ8Q", m, RESULT)
        return status, *rest[:3], rest[3:]

    def run_payload(self, name, *args, until, what, **kwargs):
        memory = self.path("memory")
        vmm = self.start("--payload", name, "--memory-file", memory, "--serial", self.path("serial"), *args, **kwargs)
        self.wait_for(vmm, lambda: os.path.exists(memory) and os.path.getsize(memory) > RESULT, "memory file")
        self.wait_for(vmm, lambda: until(*self.result(memory)), what)
        self.assertEqual(self.result(memory)[3], 0, "the payload found failures")
        return vmm

    def stop(self, vmm):
        vmm.send_signal(signal.SIGTERM)
        return self.finish(vmm, 0)


class Boot(VmmTest):
    def boot_sector(self):
        base = self.path("sector")
        subprocess.run(["gcc", "-m32", "-c", "-o", base + ".o", os.path.join(HERE, "boot-sector.S")], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "-o", base + ".elf", base + ".o"], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", base + ".elf", base], check=True)
        return base

    def test_boot_sector_prints_and_gets_timer_interrupts(self):
        out, err = self.finish(self.start("--boot-sector", self.boot_sector(), "--serial", "stdio"), 42)
        self.assertEqual(out, "DTTT\n")
        self.assertIn("pid=", err)

    def test_boot_sector_in_memory_on_both_sides_of_the_gap(self):
        out, _ = self.finish(self.start("--boot-sector", self.boot_sector(), "--serial", "stdio", memory="5G"), 42)
        self.assertEqual(out, "DTTT\n")

    def test_wrong_boot_sources_are_named(self):
        with open(self.path("large"), "wb") as f:
            f.write(bytes(513))
        for args, says in ((["--boot-sector", self.path("none")], "cannot open"),
                           (["--boot-sector", self.path("large")], "more than the 512"),
                           (["--kernel", self.path("large")], "too short for a bzImage")):
            _, err = self.finish(self.start(*args), 1)
            self.assertIn(says, err)


class Payloads(VmmTest):
    def test_writer_verifies_its_pages(self):
        self.stop(self.run_payload("writer", "--payload-arg", "working-set=256K", what="a thousand checks",
                                   until=lambda status, beat, checks, *_: status == RUNNING and checks > 1000))

    def test_all_vcpus_pass_the_token(self):
        self.stop(self.run_payload("smp", "--cpus", "2", what="a hundred checks",
                                   until=lambda status, beat, checks, *_: checks > 100))

    def test_disk_is_written_and_verified(self):
        with open(self.path("disk"), "wb") as f:
            f.truncate(1 << 20)
        self.stop(self.run_payload("disk", "--disk", self.path("disk") + ",id=a", what="two laps",
                                   until=lambda status, beat, checks, failures, d: d[1] >= 2))

    def test_resets_start_the_payload_again(self):
        _, err = self.stop(self.run_payload("reset", "--payload-arg", "arg1=50", "--cpus", "2", what="three resets",
                                            until=lambda status, *_: status == PASSED))
        self.assertEqual(err.count("the guest is reset"), 3)
        with open(self.path("serial"), encoding="ascii") as f:
            self.assertEqual(f.read().count("running"), 4)

    def test_a_sleeping_guest_stands_still_until_woken(self):
        vmm = self.run_payload("suspend", "--payload-arg", "arg0=50", "--payload-arg", "arg1=1", what="sleep",
                               until=lambda status, beat, checks, failures, d: d[0] == 1)
        memory = self.path("memory")
        time.sleep(0.1)
        before = self.result(memory)
        time.sleep(0.3)
        self.assertEqual(self.result(memory), before)
        vmm.send_signal(signal.SIGUSR1)
        self.wait_for(vmm, lambda: self.result(memory)[0] == PASSED, "the guest wakes up")
        self.stop(vmm)

    def test_memory_in_huge_pages_or_a_sentence(self):
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as f:
            free = int(f.read())
        vmm = self.start("--payload", "poweroff", "--payload-arg", "arg0=10", "--hugetlb", memory="32M")
        if free >= 16:
            self.finish(vmm, 0)
        else:
            self.assertIn("nr_hugepages", self.finish(vmm, 1)[1])


class Ends(VmmTest):
    def test_poweroff_is_success(self):
        _, err = self.finish(self.start("--payload", "poweroff", "--payload-arg", "arg0=10"), 0)
        self.assertIn("powers off", err)

    def test_exit_port_is_the_status(self):
        args = [a for pair in ("arg0=10", "arg1=1", "arg2=77") for a in ("--payload-arg", pair)]
        self.finish(self.start("--payload", "panic", *args), 77)

    def test_a_triple_fault_is_a_reset(self):
        self.stop(self.run_payload("panic", "--payload-arg", "arg0=20", what="the first start",
                                   until=lambda status, *_: status == RUNNING))

    def test_signals_end_it_cleanly_even_in_a_storm_of_resets(self):
        vmm = self.start("--payload", "panic", "--payload-arg", "arg0=1", "--cpus", "2")
        time.sleep(1)
        _, err = self.stop(vmm)
        self.assertGreater(err.count("the guest is reset"), 2)

    def test_incoming_waits_and_touches_no_memory(self):
        memory = self.path("memory")
        vmm = self.start("--incoming", "--memory-file", memory, memory="1G")
        self.wait_for(vmm, lambda: os.path.exists(memory) and os.path.getsize(memory) == 1 << 30, "memory file")
        time.sleep(0.3)
        self.assertEqual(os.stat(memory).st_blocks, 0)
        self.stop(vmm)


class Conflicts(VmmTest):
    def test_a_memory_file_has_one_guest(self):
        self.run_payload("idle", what="it runs", until=lambda status, *_: status == RUNNING)
        other = self.start("--payload", "idle", "--memory-file", self.path("memory"), name="u")
        self.assertIn("is in use by another guest", self.finish(other, 1)[1])
        self.assertEqual(self.result(self.path("memory"))[0], RUNNING)

    def test_a_disk_has_one_guest(self):
        with open(self.path("disk"), "wb") as f:
            f.truncate(1 << 20)
        disk = ["--disk", self.path("disk")]
        self.run_payload("disk", *disk, what="it runs", until=lambda status, *_: status == RUNNING)
        self.assertIn("another guest has it", self.finish(self.start("--payload", "disk", *disk, name="u"), 1)[1])

    def test_wrong_usage_has_its_status(self):
        _, err = self.finish(self.start("--payload", "nosuch"), 2)
        self.assertIn("'nosuch'", err)


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: /dev/kvm cannot be opened")
        sys.exit(77)
    unittest.main(verbosity=2)
