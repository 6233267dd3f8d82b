package falco

import (
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"
)

// testCatalog has a field of every type.
var testCatalog = NewCatalog(
	Field{Name: "t.s"}, Field{Name: "t.path", Type: Path}, Field{Name: "t.other"}, Field{Name: "t.null"}, Field{Name: "t.empty"},
	Field{Name: "t.i", Type: Int64}, Field{Name: "t.small", Type: Int8}, Field{Name: "t.u", Type: Uint64}, Field{Name: "t.bool", Type: Bool},
	Field{Name: "t.f", Type: Double}, Field{Name: "t.bytes", Type: Bytes}, Field{Name: "t.ip", Type: IPAddr}, Field{Name: "t.net", Type: IPNet},
	Field{Name: "t.port", Type: Port}, Field{Name: "t.list", List: true}, Field{Name: "t.nolist", List: true},
	Field{Name: "t.key", Arg: NeedArg}, Field{Name: "t.at", Arg: OptIndex}, Field{Name: "t.args", List: true},
	Field{Name: "t.numbers", Type: Int64, List: true}, Field{Name: "t.code"}, Field{Name: "t.raw", Type: Bytes}, Field{Name: "t.lines"}, Field{Name: "t.odd"},
	Field{Name: "t.backslash", Type: Path},
)

func testEvent() mapEvent {
	return mapEvent{
		"t.s": StringValue("Hello"), "t.path": StringValue("/usr/bin/sh"), "t.other": StringValue("Hello"), "t.empty": StringValue(""),
		"t.i": IntValue(-5), "t.small": IntValue(7), "t.u": UintValue(1 << 63), "t.bool": BoolValue(true), "t.f": FloatValue(2.5),
		"t.bytes": BytesValue([]byte{0x12, 0xab, 0x00, 0x1f}), "t.ip": IPValue(netip.MustParseAddr("10.1.2.3")),
		"t.net": IPValue(netip.MustParseAddr("10.1.2.3")), "t.port": UintValue(443),
		"t.list": ListValue(StringValue("file"), StringValue("pipe")), "t.nolist": ListValue(),
		"t.key[app]": StringValue("web"), "t.at[2]": StringValue("second"), "t.at": StringValue("any"),
		"t.args":    ListValue(StringValue("-n"), StringValue("-o"), StringValue("out"), StringValue("in")),
		"t.numbers": ListValue(IntValue(1)), "t.code": StringValue("QUI"), "t.raw": BytesValue([]byte("QUI=")), "t.lines": StringValue("a\nb"), "t.odd": StringValue("a\xff\xffb"),
		"t.backslash": StringValue(`/a\b/c`),
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	ev := testEvent()
	for want, conditions := range map[bool][]string{
		true: {
			"t.s = Hello", "t.s != hello", "t.s contains ell", "t.s icontains HELL", "t.s startswith He", "t.s endswith lo",
			`t.s contains ""`, `t.s startswith ""`, `t.s endswith ""`, "t.s in (x, Hello)", "t.s intersects (Hello)", "t.s exists",
			"t.s glob H*o", "t.s glob H[!x]llo", "t.s glob H[[:lower:]]llo", "t.s iglob h?LLO", "t.path glob /usr/*", `t.s glob \Hello`,
			"t.s regex 'H.*'", "t.s regex '[[:alpha:]]+'", "t.s > 5", "t.path pmatch (/usr)", "t.path pmatch (/usr/bin/sh)",
			"t.path pmatch (//usr//b*/)", "t.s = oneof (Hello, x)", "t.s startswith anyof (He, H)", "t.s contains allof (e, o)",
			"t.empty exists", `t.empty = ""`, "not t.empty = x",
			"t.i = -5", "t.i < 0", "t.i <= -5", "t.i in (1, -5)", "t.small >= 7", "t.u > 5", "t.f > 2", "t.f < 3", "t.bool = true", "t.bool != false",
			"t.bytes bstartswith 12ab", "t.bytes bcontains AB00", "t.ip = 10.1.2.3", "t.ip != ::1", "t.ip in (10.0.0.1, 10.1.2.3)",
			"t.net = 10.0.0.0/8", "t.net != 11.0.0.0/8", "t.net in (11.0.0.0/8, 10.1.0.0/16)", "t.port = 443", "t.port in (80, 443)",
			"t.list in (file, pipe, ipv4)", "t.list intersects (x, pipe)", "t.list exists",
			"t.s = val(t.other)", "tolower(t.s) = hello", "toupper(t.s) = tolower(t.s) or tolower(t.s) = tolower(t.other)",
			"basename(t.path) = sh", "len(t.s) = 5", "len(t.list) = 2", "concat(t.s, '-', t.other) = Hello-Hello",
			`join(",", (t.s, t.i, 3)) = "Hello,-5,3"`, `join("+", t.list) = file+pipe`, "b64(t.key[b]) = hi or t.key[app] = web",
			"t.at[2] = second", "t.at = any", `getopt(t.args, "no:")[o] = out`, `getopt(t.args, "no:") intersects (n)`,
			"t.nolist in (x)", "t.nolist exists", "t.small = 263", "t.u > -9223372036854775809", "t.i = ' -5'", "t.port = 65979", "t.port != ''",
			"t.port = https", "t.net = 10.0.0.0/256", "t.net in (11.0.0.0/8, 10.1.2.3/32)", "t.net != ::/1", "t.numbers exists",
			"b64(t.code) = AB", "t.lines regex 'a[^x]b'", `t.lines regex "a\n^b"`, "t.odd regex 'a..b'", "t.odd glob 'a??b'",
			`t.backslash pmatch ('/a\\b')`, "t.bytes startswith '\x12'", `t.bytes in ("\x12\xab\x00\x1f")`, "len(b64(t.raw)) = 3", "b64(t.raw) startswith A",
			"not t.null = x", "not t.null exists", "not (t.null = a or t.null != a)",
		},
		false: {
			"t.s = hello", "t.s in ()", "t.s = Hell", "t.path pmatch (/us)", "t.path pmatch (/usr/bin/sh/x)", "t.s regex H", "t.s regex 'ello'",
			"t.s = oneof (Hello, Hello)", "t.s = anyof ()", "t.s = allof ()", "t.s != allof (Hello, x)",
			"t.null = x", "t.null != x", `t.null = ""`, "t.null in (x)", "t.null exists", "t.null startswith x", "t.null glob *", "t.null regex '.*'",
			"t.null != val(t.s)", "t.s != val(t.null)", "len(t.null) = 0", "concat(t.s, t.null) exists", "t.null = oneof (x)",
			"t.ip = ::1", "t.list in (file)", "t.list intersects (x)", "t.nolist intersects (x)", "t.lines regex 'a.b'", "b64(t.raw) = AB",
			`t.bytes in ("\x12\xab\x00\x1f\x00")`, `t.path pmatch ("/us\\r")`,
			"tolower(t.list) intersects (file)", "basename(t.s) = sh", "b64(t.s) exists", "t.i > -5", "t.u < 5", "t.bool = false", "t.key[none] exists",
		},
	} {
		for _, cond := range conditions {
			c, err := Compile(cond, testCatalog)
			if err != nil {
				t.Errorf("%s: %v", cond, err)
				continue
			}
			if got := c.Match(ev); got != want {
				t.Errorf("%s: got %v, want %v", cond, got, want)
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for cond, message := range map[string]string{
		"x.y = 1":                                "nonexistent field x.y",
		"t.s and_not":                            "",
		"macro":                                  "macro",
		"t.s[x] = 1":                             "takes no argument",
		"t.key = 1":                              "needs an argument",
		"t.at[x] = 1":                            "needs a number",
		"t.i contains 1":                         "operator 'contains' does not work on a field of type int64",
		"t.list = x":                             "a list of type string",
		"t.i = 0x5":                              "0x5 is not a valid number",
		"t.i > 4.9":                              "4.9 is not a valid number",
		"t.f = 1.5":                              "not a valid number",
		"t.u = '1 '":                             "not a valid number",
		"t.u = ''":                               "not a valid number",
		"t.u = + 1":                              "",
		"t.bool = yes":                           "unrecognized boolean value",
		"t.port = no_such_service":               "unrecognized protocol",
		"t.port = +443":                          "unrecognized protocol",
		"t.port = 99999999999":                   "not a valid port",
		"t.ip = 10.0.0":                          "unrecognized IPv4 address",
		"t.ip = ::ffff:10.1.2.3":                 "unrecognized IPv4 address",
		"t.ip = fe80::1%eth0":                    "unrecognized IPv6 address",
		"t.net = 10.0.0.0":                       "unrecognized IP network",
		"t.net = 10.0.0.0/33":                    "invalid netmask 33",
		"t.net = 10.0.0.0/":                      "invalid netmask",
		"t.net = ::/0":                           "invalid netmask 0",
		"t.numbers in (1)":                       "a list of type int64",
		"t.list in val(t.s)":                     "different types",
		"t.s in val(t.list)":                     "different types",
		"b64(t.path) = x":                        "does not work on a field of type path",
		"t.bytes bcontains 1":                    "two hexadecimal digits",
		`t.s regex "\\w"`:                        "invalid regex pattern",
		`t.s = "a\x00b"`:                         "NUL byte",
		"t.s = " + strings.Repeat("x", 256):      "filter parameter too long",
		"t.s = val(t.i)":                         "different types",
		"t.net = val(t.net)":                     "does not work with a field on its right side",
		"t.list in oneof (x)":                    "",
		"t.list intersects (a) and len(t.i) = 1": "does not work on a field of type int64",
		"val(t.s)[x] = 1":                        "",
		"join(t.list, (t.s)) = x":                "does not work on a list",
		"concat(t.s) = x":                        "1 arguments",
		"tolower(t.s)[x] = y":                    "does not take the argument",
	} {
		_, err := Compile(cond, testCatalog)
		var parse *ParseError
		var compile *CompileError
		if !errors.As(err, &parse) && !errors.As(err, &compile) || !strings.Contains(err.Error(), message) {
			t.Errorf("%.60s: got %v, want %s", cond, err, message)
		}
	}
	_, err := Compile("t.s = a and\n t.i contains 1", testCatalog)
	var cerr *CompileError
	if !errors.As(err, &cerr) || cerr.At.Line != 2 || cerr.At.Column != 2 {
		t.Errorf("got %v, want a CompileError at 2:2", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for cond, want := range map[string]int{
		"t.s = t.other": 1, "t.s = 'tolower(t.s)'": 1, "t.s regex '^abc.*'": 1,
		"t.s = x.y": 0, "t.s regex 'a[bc]'": 0, "t.s in (t.other)": 1, "t.s = 't . other'": 1, "t.s in ('tolower(t.s)', t.key[x])": 2,
		"t.s regex '.*'": 1, "t.s regex '^a.*'": 1, "t.s regex '^.*a'": 0,
	} {
		c, err := Compile(cond, testCatalog)
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings) != want {
			t.Errorf("%s: warnings %v, want %d", cond, c.Warnings, want)
		}
	}
}

// TestPublishedRules has what the real engine answered for the published
// rules of LAB-010 and for conditions that people write in their place. The
// events are: latest, a version, no tag, a digest alone, a tag beside a
// digest, latest without a digest, a container of which only the id is known,
// the host, no container id, production with latest, production with latest
// and without a digest, and a debug image with latest.
func TestPublishedRules(t *testing.T) {
	t.Parallel()
	const digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"
	container := func(image, repository, tag, digest, namespace string) mapEvent {
		return mapEvent{
			"evt.type": StringValue("container"), "container.id": StringValue("3ad7b26ded6d"), "container.image": StringValue(image),
			"container.image.repository": StringValue(repository), "container.image.tag": StringValue(tag),
			"container.image.digest": StringValue(digest), "k8s.ns.name": StringValue(namespace),
		}
	}
	host := container("", "", "", "", "")
	host["container.id"] = StringValue("host")
	delete(host, "k8s.ns.name")
	events := []mapEvent{
		container("nginx:latest", "nginx", "latest", digest, "default"),
		container("nginx:1.25.3", "nginx", "1.25.3", digest, "default"),
		container("nginx", "nginx", "", digest, "default"),
		container("nginx@"+digest, "nginx", "", digest, "default"),
		container("nginx:1.25.3@"+digest, "nginx", "1.25.3", digest, "default"),
		container("nginx:latest", "nginx", "latest", "", "default"),
		{"evt.type": StringValue("container"), "container.id": StringValue("3ad7b26ded6d")},
		host,
		{"evt.type": StringValue("container")},
		container("nginx:latest", "nginx", "latest", digest, "production"),
		container("nginx:latest", "nginx", "latest", "", "prod"),
		container("busybox:latest", "busybox", "latest", digest, "default"),
	}
	set, results := Load(lab010(t), Options{})
	if set == nil {
		t.Fatal(problems(results))
	}
	for cond, want := range map[string]string{
		`container.image.tag = ""`:                        "..TT...T....",
		`container.image.tag != ""`:                       "TT..TT...TTT",
		`not container.image.tag = ""`:                    "TT..TTT.TTTT",
		`container.image.digest startswith "sha256:"`:     "TTTTT....T.T",
		`not container.image.digest startswith "sha256:"`: ".....TTTT.T.",
		`not container.image contains "@sha256:"`:         "TTT..TTTTTTT",
		"rule:Container Started with Mutable Image Tag":   "T.TT.T...TTT",
		"rule:Container Image Not Pinned to Digest":       "..........T.",
		"evt.type = container":                            "TTTTTTTTTTTT",
		"evt.type = asyncevent":                           "............",
	} {
		var match func(ev Event) bool
		if name, ok := strings.CutPrefix(cond, "rule:"); ok {
			match = func(ev Event) bool {
				for _, r := range set.Evaluate(nil, ev) {
					if r.Name == name {
						return true
					}
				}
				return false
			}
		} else {
			c, err := Compile(cond, DefaultCatalog())
			if err != nil {
				t.Fatal(err)
			}
			match = c.Match
		}
		got := ""
		for _, ev := range events {
			if match(ev) {
				got += "T"
			} else {
				got += "."
			}
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", cond, got, want)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	ev := maps.Clone(testEvent())
	for _, cond := range []string{
		"t.s = a or t.s in (b, c, Hello) and t.i > -9 and not t.path pmatch (/etc, /var)",
		"t.s regex 'x.*' or t.s glob a*b or t.ip = 10.0.0.1 or t.list intersects (x)",
	} {
		c, err := Compile(cond, testCatalog)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { c.Match(ev) }); n != 0 {
			t.Errorf("%s: %v allocations, want none", cond, n)
		}
	}
}
