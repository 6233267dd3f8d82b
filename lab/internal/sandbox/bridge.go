package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os/exec"
	"slices"
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
		if !slices.ContainsFunc(used, subnet.Overlaps) {
			return Network{Bridge: bridge, Subnet: subnet, Gateway: subnet.Addr().Next()}, nil
		}
	}
	return Network{}, errors.New("no free subnet in 10.213.0.0/16")
}

// Up creates the bridge and gives it the gateway's address.
func (n Network) Up(ctx context.Context) error {
	for _, args := range [][]string{
		{"link", "add", n.Bridge, "type", "bridge"},
		{"addr", "add", netip.PrefixFrom(n.Gateway, n.Subnet.Bits()).String(), "dev", n.Bridge},
		{"link", "set", n.Bridge, "up"},
	} {
		if err := ip(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// Down deletes the bridge. One that does not exist is no error.
func (n Network) Down(ctx context.Context) error {
	if _, err := net.InterfaceByName(n.Bridge); err == nil {
		return ip(ctx, "link", "del", n.Bridge)
	}
	return nil
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
