//go:build unix

package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is Linux's USER_HZ, in which /proc counts CPU time; 100 wherever Go runs.
const ticksPerSecond = 100

// machine is where it was measured, and with what.
type machine struct {
	CPU        string  `json:"cpu"`
	Cores      int     `json:"cores"`
	MemoryGiB  float64 `json:"memory_gib"`
	System     string  `json:"system"`
	Go         string  `json:"go"`
	Kafka      string  `json:"kafka"`
	Brokers    int     `json:"brokers"`
	Commit     string  `json:"leat_commit,omitempty"`
	LeatSarama string  `json:"leat_sarama,omitempty"`
	PeerSarama string  `json:"peer_sarama,omitempty"`
	PeerFranz  string  `json:"peer_franz,omitempty"`
	PeerJava   string  `json:"peer_java,omitempty"`
}

// thisMachine leaves empty or zero what the system does not tell.
func thisMachine(workers []worker) machine {
	m := machine{
		CPU:       procField("/proc/cpuinfo", "model name"),
		Cores:     runtime.NumCPU(),
		System:    runtime.GOOS + "/" + runtime.GOARCH,
		MemoryGiB: kibibytes(procField("/proc/meminfo", "MemTotal")) / (1 << 20),
	}
	const sarama, franz = "github.com/IBM/sarama", "github.com/twmb/franz-go"
	for _, w := range workers {
		info, err := buildinfo.ReadFile(w.path)
		if err != nil {
			continue
		}
		switch w.name {
		case "leat":
			m.Go, m.LeatSarama = info.GoVersion, moduleVersion(info, sarama)
		case "sarama":
			m.PeerSarama = moduleVersion(info, sarama)
		case "franz":
			m.PeerFranz = moduleVersion(info, franz)
		}
	}
	return m
}

func moduleVersion(info *buildinfo.BuildInfo, path string) string {
	for _, dep := range info.Deps {
		if dep.Path == path {
			return dep.Version
		}
	}
	return ""
}

// procField is the value of the first "name: value" line of that name.
func procField(file, name string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(content)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func kibibytes(text string) float64 {
	number, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return n
}

// cpuTimes is CPU time spent so far, in seconds.
type cpuTimes struct {
	machine float64 // all cores, with what a hypervisor took from them
	brokers float64 // Kafka on this machine, 0 when there is none
	self    float64
	known   bool // false where there is no /proc
}

func readCPU() cpuTimes {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpuTimes{}
	}
	t := cpuTimes{machine: machineSeconds(stat), known: true}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err == nil {
		t.self = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	}
	for _, process := range brokerProcesses() {
		stat, err := os.ReadFile(filepath.Join(process, "stat"))
		if err == nil {
			t.brokers += processSeconds(stat)
		}
	}
	return t
}

// machineSeconds reads the first line of /proc/stat: user, nice, system, idle, iowait, irq,
// softirq, steal, and guest times that are part of user already.
func machineSeconds(stat []byte) float64 {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	ticks := 0.0
	for i, field := range strings.Fields(string(line)) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, iowait, guest
			continue
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return ticks / ticksPerSecond
}

// processSeconds reads user and system time from a process's stat. Fields are counted from behind
// the name, which may hold spaces and brackets itself.
func processSeconds(stat []byte) float64 {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const user, system = 11, 12
	if len(fields) <= system {
		return 0
	}
	u, errUser := strconv.ParseFloat(fields[user], 64)
	s, errSystem := strconv.ParseFloat(fields[system], 64)
	if errUser != nil || errSystem != nil {
		return 0
	}
	return (u + s) / ticksPerSecond
}

// brokerProcesses are the directories in /proc of the Kafka brokers on this machine.
func brokerProcesses() []string {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var found []string
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte("\x00kafka.Kafka\x00")) {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// awaitQuiet waits for a second in which the machine, brokers included, used less than idle cores,
// for at most patience. It returns the load of the last second, -1 where that is not known or was
// not asked for.
func awaitQuiet(ctx context.Context, idle float64, patience time.Duration) (load float64, quiet bool) {
	if patience <= 0 || !readCPU().known {
		return -1, false
	}
	for deadline := time.Now().Add(patience); ; {
		began, before := time.Now(), readCPU()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return -1, false
		}
		after := readCPU()
		used := after.machine - before.machine - (after.self - before.self)
		load = max(0, used/time.Since(began).Seconds())
		if load < idle || time.Now().After(deadline) {
			return load, load < idle
		}
	}
}
