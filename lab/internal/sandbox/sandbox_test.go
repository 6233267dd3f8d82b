package sandbox

import (
	"net/netip"
	"slices"
	"testing"
)

func TestParseCgroupMounts(t *testing.T) {
	tests := []struct {
		name, mounts string
		want         []string
	}{
		{"version 2", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nproc /proc proc rw 0 0\n", []string{"/sys/fs/cgroup"}},
		{
			"hybrid", "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n" +
				"cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
			[]string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"},
		},
		{"none", "proc /proc proc rw 0 0\n\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseCgroupMounts(tt.mounts); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestInCgroup(t *testing.T) {
	tests := []struct {
		name, cgroup string
		want         bool
	}{
		{"version 2", "0::/twlab-a/kubepods/pod1/c\n", true},
		{"version 1", "4:memory:/\n3:cpu:/twlab-a/kubepods\n", true},
		{"itself", "0::/twlab-a\n", true},
		{"another lab", "0::/twlab-ab/kubepods\n", false},
		{"below another", "0::/user/twlab-a/x\n", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := InCgroup(tt.cgroup, "twlab-a"); got != tt.want {
				t.Errorf("InCgroup(%q) = %t, want %t", tt.cgroup, got, tt.want)
			}
		})
	}
}

func TestMountsBelow(t *testing.T) {
	info := `36 1 98:0 / / rw - ext4 /dev/vda rw
40 36 0:30 / /s/containerd/rootfs rw - overlay overlay rw
41 36 0:31 / /s/containerd/rootfs/dev/shm rw - tmpfs shm rw
42 36 0:32 / /s/a\040b rw - tmpfs t rw
43 36 0:33 / /sother rw - tmpfs t rw
broken
`
	got := mountsBelow(info, "/s")
	want := []string{"/s/a b", "/s/containerd/rootfs/dev/shm", "/s/containerd/rootfs"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChooseNetworkAvoidsUsed(t *testing.T) {
	first, err := chooseNetwork("br0", "seed", nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := chooseNetwork("br0", "seed", []netip.Prefix{first.Subnet})
	if err != nil {
		t.Fatal(err)
	}
	if second.Subnet.Overlaps(first.Subnet) {
		t.Errorf("%s overlaps the used %s", second.Subnet, first.Subnet)
	}
	if !first.Subnet.Contains(first.Gateway) {
		t.Errorf("gateway %s is outside %s", first.Gateway, first.Subnet)
	}
	if _, err := chooseNetwork("br0", "seed", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Error("a subnet was found where none is free")
	}
}
