package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// found are the references of a result, one a line: text, place, style,
// container, path and, of a split one, the texts of its fields; then what
// could not be read.
func found(data string, r Result) []string {
	var out []string
	for _, ref := range r.References {
		s := fmt.Sprintf("%s @%d:%d", ref.Text, ref.Span.Line, ref.Span.Column)
		switch ref.Style {
		case Single:
			s += " single"
		case Double:
			s += " double"
		case Block:
			s += " block"
		}
		if ref.Container != "" {
			s += " in " + ref.Container
		}
		s += " (" + ref.Path + ")"
		if ref.Split != nil {
			field := func(s Span) string { return data[s.Start:s.End] }
			s += fmt.Sprintf(" split %q %q %q %q at %q", field(ref.Split.Registry), field(ref.Split.Repository),
				field(ref.Split.Tag), field(ref.Split.Digest), field(ref.Span))
		}
		if ref.Comment != "" {
			s += " # " + ref.Comment
		}
		out = append(out, s)
	}
	for _, u := range r.Unscannable {
		out = append(out, "unscannable: "+u.Error())
	}
	return out
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file string
		want []string
	}{
		{"one image", "FROM nginx:1.25\n", []string{"nginx:1.25 @1:6 (FROM)"}},
		{"no end of line", "FROM nginx:1.25", []string{"nginx:1.25 @1:6 (FROM)"}},
		{"any case", "from nginx:1 as Web\ncopy --from=a /x /y\n", []string{
			"nginx:1 @1:6 in web (FROM)", "a @2:13 in web (COPY --from)",
		}},
		{"blanks", "\t FROM \t --platform=linux/amd64\tnginx:1  AS\tx  \n", []string{"nginx:1 @1:33 in x (FROM)"}},
		{"platform from a variable", "FROM --platform=$BUILDPLATFORM golang:1.26 AS build\n", []string{"golang:1.26 @1:32 in build (FROM)"}},
		{"windows line ends", "FROM \\\r\n  nginx:1\r\nCOPY --from=b:2 /a /b\r\n", []string{"nginx:1 @2:3 (FROM)", "b:2 @3:13 (COPY --from)"}},
		{"byte order mark", "\xEF\xBB\xBFFROM nginx:1\n", []string{"nginx:1 @1:6 (FROM)"}},
		{"byte order mark, directive", "\xEF\xBB\xBF# escape=`\nFROM `\nnginx:1\n", []string{"nginx:1 @3:1 (FROM)"}},
		{"columns count characters", "FROM --platform=é nginx:1\n", []string{"nginx:1 @1:19 (FROM)"}},
		{"quotes", "FROM \"nginx:1\"\nFROM 'redis:7'\n", []string{"nginx:1 @1:7 double (FROM)", "redis:7 @2:7 single (FROM)"}},

		{"stages are no images", `FROM golang:1 AS build
FROM Build AS test
FROM scratch
COPY --from=BUILD /a /b
COPY --from=0 /a /b
COPY --from=test /a /b
COPY --from=ghcr.io/acme/tool:1@sha256:abc /t /t
ADD --from=busybox /x /x
`, []string{
			"golang:1 @1:6 in build (FROM)",
			"ghcr.io/acme/tool:1@sha256:abc @7:13 (COPY --from)",
			"busybox @8:12 (ADD --from)",
		}},
		{"a stage is none for itself nor above", "FROM alpine AS alpine\nFROM late\nFROM alpine AS late\nCOPY --from=late a b\n", []string{
			"alpine @1:6 in alpine (FROM)", "late @2:6 (FROM)",
		}},
		{"the first stage of a name counts", "FROM a AS x\nFROM x AS x\nFROM x\n", []string{"a @1:6 in x (FROM)"}},
		{"other options", "FROM a\nCOPY --chown=1:1 --link --from=b --chmod=755 /x /y\n", []string{"a @1:6 (FROM)", "b @2:32 (COPY --from)"}},
		{"an option after the arguments is none", "FROM a\nCOPY /x --from=b /y\nCOPY -- --from=c /y\n", []string{"a @1:6 (FROM)"}},
		{"option in quotes", "FROM a\nCOPY --from=\"b\" /x /y\nCOPY \"--from=c\" /x /y\n", []string{"a @1:6 (FROM)", "b @2:14 double (COPY --from)"}},
		{"options take no variables", "ARG B=b:1\nFROM a\nCOPY --from=${B} /x /y\nRUN --mount=from=$B,target=/b ls\n", []string{
			"a @2:6 (FROM)",
			"unscannable: line 3: COPY --from=${B}: variables are not allowed here; name a stage that is FROM them",
			"unscannable: line 4: RUN --mount=$B: variables are not allowed here; name a stage that is FROM them",
		}},
		{"the files of the build", "FROM a\nCOPY --from= /x /y\n", []string{"a @1:6 (FROM)"}},
		{"mounts", `FROM a AS s
RUN --mount=type=bind,from=tools:1,source=/x,target=/y --mount=type=cache,target=/c,FROM=cache@sha256:1 \
    --mount=type=bind,from=s,target=/z --mount=type=secret,id=from make --mount=from=no
RUN echo --mount=from=no
RUN --mount=type=bind,"from=b",target=/c ls
RUN --mount=type=bind,\"from=b\",target=/c ls
`, []string{
			"a @1:6 in s (FROM)", "tools:1 @2:28 in s (RUN --mount)", "cache@sha256:1 @2:90 in s (RUN --mount)",
			"b @5:29 in s (RUN --mount)",
			"unscannable: line 6: RUN --mount: quotes within the option are not read",
		}},
		{"onbuild", "FROM a\nONBUILD COPY --from=b /x /y\nonbuild run --mount=from=c,target=/c ls\nONBUILD ARG X=1\nONBUILD FROM d\n", []string{
			"a @1:6 (FROM)", "b @2:21 (ONBUILD COPY --from)", "c @3:26 (ONBUILD RUN --mount)",
			"unscannable: line 5: ONBUILD FROM is not allowed",
		}},

		{"continued lines", "FROM \\\n\n  # comment\n\t\\ \t\n nginx:1 \\\n# FROM no\n AS \\\n web\nRUN a \\\\\nFROM b\n", []string{
			"nginx:1 @5:2 in web (FROM)", "b @10:6 (FROM)",
		}},
		{"a name over two lines", "FROM ngi\\\nnx:1\n", []string{`nginx:1 @2:4 (FROM) split "" "" "1" "" at "1"`}},
		{"a name over two lines, no tag", "FROM ngi\\\nnx\n", []string{"nginx @1:6 (FROM) split \"\" \"\" \"\" \"\" at \"ngi\\\\\\nnx\""}},
		{"other escape character", "# check=skip=all\n#escape = `\n\nFROM a\nRUN dir c:\\\nFROM `\nb\n", []string{"a @4:6 (FROM)", "b @7:1 (FROM)"}},
		{"the image that reads the file", "#syntax = docker/dockerfile:1.7 x\n# escape=`\nFROM `\n  a\n", []string{"docker/dockerfile:1.7 @1:11 (syntax)", "a @4:3 (FROM)"}},
		{"the image that reads the file is no stage", "# syntax=b\nFROM a AS b\nFROM b\n", []string{"b @1:10 (syntax)", "a @2:6 in b (FROM)"}},
		{"a later comment names no image", "FROM a\n# syntax=b\n", []string{"a @1:6 (FROM)"}},
		{"a comment ends the directives", "# hello\n# escape=`\nFROM \\\na\n", []string{"a @4:1 (FROM)"}},
		{"an unknown directive ends the directives", "# foo=bar\n# escape=`\nFROM \\\na\n", []string{"a @4:1 (FROM)"}},
		{"wrong escape character", "# escape=x\nFROM a\n", []string{"a @2:6 (FROM)", "unscannable: line 1: the escape character is x; it can be \\ or `"}},
		{"comments", "# FROM no\n  # FROM no\nFROM a\n#FROM no\n", []string{"a @3:6 (FROM)"}},

		{"the whole image from a variable", "ARG BASE=nginx:1.25\nFROM ${BASE}\n", []string{"nginx:1.25 @1:10 (FROM)"}},
		{"in quotes", "ARG BASE=\"nginx:1.25\" OTHER='redis:7'\nFROM $BASE\nFROM $OTHER\n", []string{"nginx:1.25 @1:11 double (FROM)", "redis:7 @1:30 single (FROM)"}},
		{"one variable, two stages", "ARG BASE=nginx:1\nFROM $BASE AS a\nFROM $BASE AS b\n", []string{"nginx:1 @1:10 in a (FROM)"}},
		{"the tag from a variable", "ARG V=1.25\nFROM nginx:${V}\n", []string{`nginx:1.25 @1:7 (FROM) split "" "nginx" "1.25" "" at "1.25"`}},
		{"the digest from a variable", "ARG V=1.25@sha256:abc\nFROM nginx:$V\n", []string{`nginx:1.25@sha256:abc @1:12 (FROM) split "" "nginx" "1.25" "sha256:abc" at "sha256:abc"`}},
		{"the registry from a variable", "ARG R=reg.example.com:5000\nFROM ${R}/team/app:1\n", []string{
			`reg.example.com:5000/team/app:1 @2:20 (FROM) split "reg.example.com:5000" "team/app" "1" "" at "1"`,
		}},
		{"the registry and no tag", "ARG R=reg.example.com:5000/\nFROM ${R}app\n", []string{
			`reg.example.com:5000/app @2:10 (FROM) split "reg.example.com:5000" "app" "" "" at "app"`,
		}},
		{"a part of the tag", "ARG GO=1.26\nFROM golang:${GO}-alpine AS b\n", []string{
			`golang:1.26-alpine @2:6 in b (FROM) split "" "golang" "" "" at "golang:${GO}-alpine"`,
		}},
		{"variables of variables", "ARG V=1 I=nginx\nARG BASE=$I:$V\nFROM $BASE\n", []string{`nginx:1 @1:7 (FROM) split "" "nginx" "1" "" at "1"`}},
		{"the last default counts", "ARG B=a\nARG B=b\nARG B\nFROM $B\n", []string{"b @2:7 (FROM)"}},
		{"a default in place", "FROM ${B:-nginx:1}\nFROM ${B-redis:7}\n", []string{"nginx:1 @1:11 (FROM)", "redis:7 @2:10 (FROM)"}},
		{"an empty default", "ARG B=\nFROM ${B:-nginx:1}\nFROM ${B-redis:7}\n", []string{
			"nginx:1 @2:11 (FROM)", "unscannable: line 3: the image FROM ${B-redis:7} is an empty text",
		}},
		{"defaults of defaults", "ARG C=c:1\nFROM ${A:-${B:-$C}}\n", []string{"c:1 @1:7 (FROM)"}},
		{"an unknown default that is not needed", "ARG C=c:1\nFROM ${C:-${B}}x\n", []string{`c:1x @2:6 (FROM) split "" "c" "" "" at "${C:-${B}}x"`}},
		{"plus", "ARG D=1\nFROM a${D:+-debug}\nFROM b${E:+-debug}\n", []string{`a-debug @2:6 (FROM) split "" "" "" "" at "a${D:+-debug}"`, "b @3:6 (FROM)"}},
		{"question mark", "ARG D=d:1\nFROM ${D:?needed}\nFROM ${E?}\n", []string{
			"d:1 @1:7 (FROM)", "unscannable: line 3: the image FROM ${E?} is not known: E has no value",
		}},
		{"no default", "ARG BASE\nFROM ${BASE}\nFROM a:$TAG\n", []string{
			"unscannable: line 2: the image FROM ${BASE} is not known: no ARG before the first FROM gives BASE a default",
			"unscannable: line 3: the image FROM a:$TAG is not known: no ARG before the first FROM gives TAG a default",
		}},
		{"a variable of a variable with no default", "ARG V\nARG B=a:$V\nFROM $B AS x\nFROM x\n", []string{
			"unscannable: line 3: the image FROM $B is not known: no ARG before the first FROM gives V a default",
		}},
		{"variables of a stage do not count", "FROM a\nARG B=b\nFROM $B\n", []string{
			"a @1:6 (FROM)", "unscannable: line 3: the image FROM $B is not known: no ARG before the first FROM gives B a default",
		}},
		{"escaped dollar", "ARG B=b\nFROM \\$B\n", []string{"$B @2:7 (FROM)"}},
		{"other operators", "ARG B=b\nFROM ${B#a}\nFROM ${B/a/c}\nFROM ${}\nFROM ${B:2}\n", []string{
			"unscannable: line 2: the image FROM ${B#a} is not known: what stands between ${ and } is not read here",
			"unscannable: line 3: the image FROM ${B/a/c} is not known: what stands between ${ and } is not read here",
			"unscannable: line 4: the image FROM ${} is not known: what stands between ${ and } is not read here",
			"unscannable: line 5: the image FROM ${B:2} is not known: what stands between ${ and } is not read here",
		}},
		{"open quotes", "FROM \"a\nFROM ${B\n", []string{
			`unscannable: line 1: the image FROM "\"a" is not known: a quote has no end`,
			"unscannable: line 2: the image FROM ${B is not known: what stands between ${ and } is not read here",
		}},
		{"a stage a variable names", "ARG S=build\nFROM a AS build\nFROM $S\nFROM ${T:-scratch}\n", []string{"a @2:6 in build (FROM)"}},
		{"stages named after platforms", "FROM a AS build-amd64\nFROM b AS build-arm64\nFROM build-${TARGETARCH} AS build\nFROM c-$TARGETARCH\nFROM $TARGETARCH\n", []string{
			"a @1:6 in build-amd64 (FROM)", "b @2:6 in build-arm64 (FROM)",
			"unscannable: line 4: the image FROM c-$TARGETARCH is not known: it depends on the platform of the build",
			"unscannable: line 5: the image FROM $TARGETARCH is not known: it depends on the platform of the build",
		}},
		{"variables that grow", "ARG A=aaaaaaaaaaaaaaaa\n" + growing(40) + "FROM $A\nFROM ok\n", []string{
			"ok @43:6 (FROM)", "unscannable: line 42: the image FROM $A is not known: the text is too long for an image",
		}},
		{"nested braces", "FROM " + strings.Repeat("${A:-", 1000) + "a" + strings.Repeat("}", 1000) + "\n", []string{
			"unscannable: line 1: the image FROM " + strings.Repeat("${A:-", 16) + "… is not known: ${ is nested too deeply",
		}},

		{"heredocs", `FROM a
RUN <<EOF
FROM no
EOF
RUN <<-"END" cat <<'2' > /x && true
FROM no
	END
FROM no
2
COPY <<x <<y /
FROM no
x
COPY --from=no a b
y
ONBUILD RUN << EOF
FROM no
EOF
RUN echo "<<EOF" '<<EOF' $((1<<EOF)) <<<EOF
RUN ["echo", "<<EOF"]
CMD <<EOF
FROM b
`, []string{"a @1:6 (FROM)", "b @21:6 (FROM)"}},
		{"a heredoc without an end", "FROM a\nRUN <<EOF\nFROM b\n", []string{"a @1:6 (FROM)", "unscannable: line 2: the text after <<EOF has no end"}},
		{"heredoc with windows line ends", "FROM a\r\nRUN <<EOF\r\nFROM no\r\nEOF\r\nFROM b\r\n", []string{"a @1:6 (FROM)", "b @5:6 (FROM)"}},

		{"nothing", "", []string{"unscannable: no FROM instruction, so this is not a whole Dockerfile"}},
		{"no FROM", "# a\nRUN x\n", []string{"unscannable: no FROM instruction, so this is not a whole Dockerfile"}},
		{"FROM and nothing", "FROM\nFROM --platform=x\n", []string{
			"unscannable: line 1: FROM takes an image, or an image AS a name", "unscannable: line 2: FROM takes an image, or an image AS a name",
		}},
		{"too many words", "FROM a b\nFROM a IS b\n", []string{
			"unscannable: line 1: FROM takes an image, or an image AS a name", "unscannable: line 2: FROM takes an image, or an image AS a name",
		}},
		{"unknown instructions are told of once", "{% if x %}\nFROM a\n{% endif %}\n", []string{"a @2:6 (FROM)", "unscannable: line 1: unknown instruction {%"}},
		{"a template", "FROM {{ .Image }}\n", []string{"unscannable: line 1: FROM takes an image, or an image AS a name"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := dockerfile([]byte(tt.file))
			checkResult(t, []byte(tt.file), r)
			if diff := cmp.Diff(tt.want, found(tt.file, r)); diff != "" {
				t.Errorf("dockerfile (-want +got):\n%s", diff)
			}
		})
	}
}

// growing are n variables, each twice as long as the one before.
func growing(n int) string { return strings.Repeat("ARG A=$A$A\n", n) }

// checkResult checks what is true of each result.
func checkResult(t *testing.T, data []byte, r Result) {
	t.Helper()
	within := func(s Span) bool { return 0 <= s.Start && s.Start <= s.End && s.End <= len(data) }
	for _, ref := range r.References {
		s := ref.Span
		if !within(s) || s.Line < 1 || s.Column < 1 {
			t.Fatalf("%q: wrong span %+v", ref.Text, s)
		}
		if got := string(data[s.Start:s.End]); ref.Split == nil && ref.Style == Plain && got != ref.Text {
			t.Fatalf("%q: the span has %q", ref.Text, got)
		}
		if p := ref.Split; p != nil && (!within(p.Registry) || !within(p.Repository) || !within(p.Tag) || !within(p.Digest)) {
			t.Fatalf("%q: wrong fields %+v", ref.Text, *p)
		}
		if line := 1 + strings.Count(string(data[:s.Start]), "\n"); s.Line != line {
			t.Fatalf("%q: on line %d, want %d", ref.Text, s.Line, line)
		}
	}
	for _, u := range r.Unscannable {
		if u.Reason == "" || strings.ContainsAny(u.Reason, "\n\r") || u.Line < 0 || u.Line > 1+strings.Count(string(data), "\n") {
			t.Fatalf("wrong Unscannable %+v", u)
		}
	}
}

func FuzzDockerfile(f *testing.F) {
	for _, s := range []string{
		"", "FROM a:1\n", "# escape=`\nFROM `\na", "ARG V=1\nFROM a:${V}-b", "FROM a AS b\nCOPY --from=b x y\nRUN --mount=from=c,x=y z",
		"\xEF\xBB\xBFFROM \"${A:-b}\"\r\n", "FROM a\nRUN <<E cat <<-'F'\nE\n\tF\nONBUILD ADD --from=\\\n x y", "ARG A=${A:+$B} C='d e' F\nFROM $C$A@$",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := dockerfile(data)
		checkResult(t, data, r)
		for _, ref := range r.References {
			if ref.Text == "" || ref.Format != Dockerfile {
				t.Fatalf("wrong reference %+v", ref)
			}
		}
	})
}
