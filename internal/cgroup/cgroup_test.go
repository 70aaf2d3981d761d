package cgroup

import (
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// machine is a file system with these files.
func machine(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func TestTheSmallestLimitCounts(t *testing.T) {
	const unit = "0::/system.slice/tidegate.service\n"
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  int64
	}{
		{"no control groups", machine(), 0},
		{"version 2", machine("proc/self/cgroup", unit, "sys/fs/cgroup/system.slice/tidegate.service/memory.max", "268435456\n"), 256 << 20},
		{"no limit", machine("proc/self/cgroup", unit, "sys/fs/cgroup/system.slice/tidegate.service/memory.max", "max\n"), 0},
		{"of the slice", machine("proc/self/cgroup", unit,
			"sys/fs/cgroup/system.slice/tidegate.service/memory.max", "268435456\n", "sys/fs/cgroup/system.slice/memory.max", "100000000\n"), 100000000},
		{"of the service", machine("proc/self/cgroup", unit,
			"sys/fs/cgroup/system.slice/tidegate.service/memory.max", "100000000\n", "sys/fs/cgroup/system.slice/memory.max", "max\n"), 100000000},
		{"a container", machine("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", "64000000\n"), 64000000},
		{"a container in another", machine("proc/self/cgroup", "0::/../../other\n", "sys/fs/cgroup/memory.max", "64000000\n"), 64000000},
		{"version 1", machine("proc/self/cgroup", "11:cpu,cpuacct:/a\n4:memory:/docker/x\n1:name=systemd:/docker/x\n",
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "134217728\n"), 128 << 20},
		{"version 1 without a limit", machine("proc/self/cgroup", "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"), 0},
		{"both versions", machine("proc/self/cgroup", "4:memory:/a\n"+unit,
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", "134217728\n", "sys/fs/cgroup/system.slice/tidegate.service/memory.max", "max\n"), 128 << 20},
		{"nonsense", machine("proc/self/cgroup", "0::\n:\n\n0:x\n", "sys/fs/cgroup/memory.max", "-5\n"), 0},
		{"a number without an end", machine("proc/self/cgroup", "0::/\n", "sys/fs/cgroup/memory.max", strings.Repeat("1", 1<<20)), 0},
	} {
		got, ok := memory(c.files)
		if ok != (c.want != 0) || ok && got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.name, got, ok, c.want)
		}
	}
}

func FuzzLimits(f *testing.F) {
	for _, seed := range []string{"0::/a/b\n", "4:memory:/docker/x\n", "0::/../..\n", strings.Repeat("0::/a/b/c\n", 100), "0::" + strings.Repeat("/a", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, groups string) {
		files := limits(groups)
		if len(files) > maxFiles {
			t.Errorf("%d files", len(files))
		}
		for _, file := range files {
			if !strings.HasPrefix(file, "sys/fs/cgroup/") || path.Clean(file) != file || slices.Contains(strings.Split(file, "/"), "..") {
				t.Errorf("leads to %q", file)
			}
		}
	})
}
