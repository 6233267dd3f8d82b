package sandbox

import (
	"slices"
	"strings"
)

// mountsBelow returns the mount points at or below dir in the order in which
// they can be unmounted: the last mounted first.
func mountsBelow(mountinfo, dir string) []string {
	var found []string
	for line := range strings.Lines(mountinfo) {
		// 36 35 98:0 /root /mount/point options… - type source options
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if target := unescape(f[4]); target == dir || strings.HasPrefix(target, dir+"/") {
			found = append(found, target)
		}
	}
	slices.Reverse(found)
	return found
}

// unescape undoes the escapes the kernel writes for characters that would
// break a line into other fields.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
