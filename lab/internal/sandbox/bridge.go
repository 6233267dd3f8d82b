package sandbox

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os/exec"
	"strings"
)

// A Network is the bridge that joins the lab's pods.
type Network struct {
	Bridge  string       `json:"bridge"`
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"`
}

// NewNetwork chooses a subnet that no interface of the machine uses. The seed
// decides where the search begins, so that two labs rarely meet.
func NewNetwork(bridge, seed string) (Network, error) {
	var used []netip.Prefix
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return Network{}, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p)
		}
	}
	return chooseNetwork(bridge, seed, used)
}

func chooseNetwork(bridge, seed string, used []netip.Prefix) (Network, error) {
	h := fnv.New32a()
	h.Write([]byte(seed))
	start := h.Sum32()
	for i := range uint32(256) {
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(start + i), 0}), 24)
		if !overlaps(subnet, used) {
			return Network{Bridge: bridge, Subnet: subnet, Gateway: subnet.Addr().Next()}, nil
		}
	}
	return Network{}, fmt.Errorf("no free subnet in 10.213.0.0/16")
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}

// Up creates the bridge and gives it the gateway's address.
func (n Network) Up() error {
	for _, args := range [][]string{
		{"link", "add", n.Bridge, "type", "bridge"},
		{"addr", "add", netip.PrefixFrom(n.Gateway, n.Subnet.Bits()).String(), "dev", n.Bridge},
		{"link", "set", n.Bridge, "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

// Down deletes the bridge. One that does not exist is no error.
func (n Network) Down() error {
	if _, err := net.InterfaceByName(n.Bridge); err != nil {
		return nil
	}
	return ip("link", "del", n.Bridge)
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
