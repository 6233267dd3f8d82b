package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// dockerfile finds the images that a Dockerfile, or a Containerfile, takes
// something from: FROM, COPY --from, ADD --from and RUN --mount=from=…, also
// after ONBUILD. Its syntax is BuildKit's, docs.docker.com/reference/dockerfile.
//
// A variable stands for the default of its ARG before the first FROM. Where
// the whole reference comes from there, so does its Span. A reference that is
// put together of several places is split; the Span of one whose tag, or
// whose name, is itself put together is the whole word after FROM.
//
// Stages and scratch are no images. An image that is known only during a
// build is Unscannable.
func dockerfile(data []byte) Result {
	f := dockerfileScan{
		data:   data,
		places: newPlaces(data),
		escape: '\\',
		args:   map[string]argument{},
	}
	for _, name := range platformArgs {
		f.args[name] = argument{value: written{text: []byte{0}, at: []int{nowhere}}}
	}
	f.scan()
	return f.result()
}

// platformArgs are the variables that BuildKit sets itself: they are known
// before the first FROM, and depend on the platform of a build.
var platformArgs = []string{
	"BUILDPLATFORM", "BUILDOS", "BUILDOSVERSION", "BUILDARCH", "BUILDVARIANT",
	"TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT", "TARGETSTAGE",
}

// dockerfileInstructions are the instructions there are.
var dockerfileInstructions = []string{
	"add", "arg", "cmd", "copy", "entrypoint", "env", "expose", "from", "healthcheck", "label", "maintainer",
	"onbuild", "run", "shell", "stopsignal", "user", "volume", "workdir",
}

// maxValue is the longest value of a variable that is followed, in bytes. No
// image reference is as long. It keeps variables of variables from growing
// without end.
const maxValue = 4096

// nowhere is the place of a byte that is not in the file.
const nowhere = -1

// written is a text, and where in the file each byte of it stands.
type written struct {
	text []byte
	at   []int
}

func (w written) slice(start, end int) written {
	return written{w.text[start:end], w.at[start:end]}
}

func (w *written) add(b byte, at int) {
	w.text, w.at = append(w.text, b), append(w.at, at)
}

func (w *written) append(other written) {
	w.text, w.at = append(w.text, other.text...), append(w.at, other.at...)
}

func (w written) trim() written {
	start := len(w.text) - len(bytes.TrimLeftFunc(w.text, unicode.IsSpace))
	return w.slice(start, max(start, len(bytes.TrimRightFunc(w.text, unicode.IsSpace))))
}

// together reports whether w stands in the file as it is.
func (w written) together() bool {
	for i, at := range w.at {
		if at == nowhere || at != w.at[0]+i {
			return false
		}
	}
	return len(w.at) > 0
}

// An argument is a variable before the first FROM.
type argument struct {
	value written
	err   error // why it has no value
}

// A dockerfileImage is a name after FROM, or in a from option, which may
// turn out to be a stage.
type dockerfileImage struct {
	name  written
	word  written // as it is in the instruction
	stage string  // the stage it is in
	path  string
	from  bool // after FROM
	index int  // how many stages there are before it
}

type dockerfileScan struct {
	data   []byte
	places *places
	offset int // of what is not read yet
	escape byte
	args   map[string]argument
	stages []string // their names, in lower case, or ""
	images []dockerfileImage
	bad    []Unscannable
	odd    bool // an unknown instruction was reported
}

// scan reads the file instruction by instruction.
func (f *dockerfileScan) scan() {
	if bytes.HasPrefix(f.data, bom) {
		f.offset = len(bom)
	}
	f.directives()
	for f.offset < len(f.data) {
		start := f.offset
		line := f.instruction()
		if len(line.text) == 0 {
			continue
		}
		number := f.places.line(start)
		name, flags, args := f.split(line)
		path := strings.ToUpper(name)
		if name == "onbuild" {
			name, flags, args = f.split(args)
			path += " " + strings.ToUpper(name)
		}
		f.read(number, name, path, flags, args)
		if (name == "run" || name == "copy" || name == "add") && bytes.Contains(line.text, []byte("<<")) && !isJSON(args.text) {
			f.skipHeredocs(number, string(line.text))
		}
	}
	if len(f.stages) == 0 {
		f.fail(0, "no FROM instruction, so this is not a whole Dockerfile")
	}
}

func (f *dockerfileScan) fail(line int, format string, a ...any) {
	f.bad = append(f.bad, Unscannable{Line: line, Reason: fmt.Sprintf(format, a...)})
}

var directive = regexp.MustCompile(`^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$`)

// directives reads the comments at the top that are more than comments.
func (f *dockerfileScan) directives() {
	for offset := f.offset; offset < len(f.data); {
		line, next := f.line(offset)
		m := directive.FindSubmatch(bytes.TrimLeftFunc(line, unicode.IsSpace))
		if m == nil {
			return
		}
		switch value := string(m[2]); strings.ToLower(string(m[1])) {
		case "syntax":
			f.syntax(offset+bytes.LastIndex(line, m[2]), value)
		case "check":
		case "escape":
			if value != `\` && value != "`" {
				f.fail(f.places.line(offset), "the escape character is %s; it can be \\ or `", clip(value))
				return
			}
			f.escape = value[0]
		default:
			return
		}
		offset = next
	}
}

// syntax takes the image that reads the rest of the file: it is pulled, and
// run, before all others
// (https://docs.docker.com/build/buildkit/frontend/).
func (f *dockerfileScan) syntax(at int, value string) {
	name, _, _ := strings.Cut(value, " ")
	w := written{}
	for i := range len(name) {
		w.add(name[i], at+i)
	}
	f.images = append(f.images, dockerfileImage{name: w, word: w, path: "syntax", from: true})
}

// line is the line at an offset without its end, and where the next begins.
func (f *dockerfileScan) line(offset int) (line []byte, next int) {
	next = len(f.data)
	if i := bytes.IndexByte(f.data[offset:], '\n'); i >= 0 {
		next = offset + i + 1
	}
	return bytes.TrimRight(f.data[offset:next], "\r\n"), next
}

// instruction reads an instruction with the lines that continue it, or a line
// with none.
func (f *dockerfileScan) instruction() written {
	var w written
	for first := true; f.offset < len(f.data); first = false {
		offset := f.offset
		line, next := f.line(offset)
		f.offset = next
		text := bytes.TrimLeftFunc(line, unicode.IsSpace)
		if len(text) == 0 || text[0] == '#' {
			if first {
				break
			}
			continue
		}
		if first {
			offset += len(line) - len(text)
			line = text
		}
		line, more := f.continued(line)
		for i, b := range line {
			w.add(b, offset+i)
		}
		if !more {
			break
		}
	}
	return w.trim()
}

// continued takes the mark at the end of a line off that says that another
// one follows. After a second mark, it is none.
func (f *dockerfileScan) continued(line []byte) ([]byte, bool) {
	text := bytes.TrimRight(line, " \t")
	n := len(text) - 1
	if n < 0 || text[n] != f.escape || n > 0 && text[n-1] == f.escape {
		return line, false
	}
	return text[:n], true
}

// split splits an instruction into its name in lower case, its options and
// the rest.
func (f *dockerfileScan) split(line written) (name string, flags []written, args written) {
	end := bytes.IndexAny(line.text, blanks)
	if end < 0 {
		end = len(line.text)
	}
	name = strings.ToLower(string(line.text[:end]))
	args = line.slice(end, len(line.text)).trim()
	for bytes.HasPrefix(args.text, []byte("--")) {
		var flag written
		flag, args = f.flag(args)
		if string(flag.text) == "--" {
			break
		}
		flags = append(flags, flag)
	}
	return name, flags, args
}

// blanks separate the words of an instruction.
const blanks = " \t\v\f\r"

// flag cuts an option off, and takes off its quotes.
func (f *dockerfileScan) flag(line written) (flag, rest written) {
	var quote byte
	i := 0
	for ; i < len(line.text); i++ {
		switch b := line.text[i]; {
		case b == f.escape:
			if i++; i < len(line.text) {
				flag.add(line.text[i], line.at[i])
			}
		case b == quote:
			quote = 0
		case quote == 0 && (b == '"' || b == '\''):
			quote = b
		case quote == 0 && strings.IndexByte(blanks, b) >= 0:
			return flag, line.slice(i, len(line.text)).trim()
		default:
			flag.add(b, line.at[i])
		}
	}
	return flag, written{}
}

// read takes the images out of an instruction.
func (f *dockerfileScan) read(line int, name, path string, flags []written, args written) {
	switch name {
	case "from":
		f.from(line, path, args)
	case "arg":
		if len(f.stages) == 0 && path == "ARG" {
			f.arg(args)
		}
	case "copy", "add":
		for _, flag := range flags {
			if value, ok := cutOption(flag, "--from="); ok {
				f.option(line, path+" --from", value)
			}
		}
	case "run":
		for _, flag := range flags {
			if value, ok := cutOption(flag, "--mount="); ok {
				f.mount(line, path+" --mount", value)
			}
		}
	default:
		if !f.odd && !slices.Contains(dockerfileInstructions, name) {
			f.odd = true
			f.fail(line, "unknown instruction %s", clip(name))
		}
	}
}

func cutOption(flag written, option string) (value written, ok bool) {
	if !bytes.HasPrefix(flag.text, []byte(option)) {
		return written{}, false
	}
	return flag.slice(len(option), len(flag.text)), true
}

// from reads FROM image [AS name].
func (f *dockerfileScan) from(line int, path string, args written) {
	if path != "FROM" {
		f.fail(line, "%s is not allowed", path)
		return
	}
	words := fields(args)
	stage, index := "", len(f.stages)
	if len(words) == 3 && strings.EqualFold(string(words[1].text), "as") {
		stage = strings.ToLower(string(words[2].text))
	}
	f.stages = append(f.stages, stage)
	if len(words) != 1 && (len(words) != 3 || stage == "") {
		f.fail(line, "FROM takes an image, or an image AS a name")
		return
	}
	word := words[0]
	name, err := f.expand(word)
	switch {
	case err != nil:
		f.fail(line, "the image FROM %s is not known: %v", clip(string(word.text)), err)
	case len(name.text) == 0:
		f.fail(line, "the image FROM %s is an empty text", clip(string(word.text)))
	case slices.Contains(name.at, nowhere):
		if !f.stageLike(name.text) {
			f.fail(line, "the image FROM %s is not known: it depends on the platform of the build", clip(string(word.text)))
		}
	default:
		f.images = append(f.images, dockerfileImage{name: name, word: word, stage: stage, path: path, from: true, index: index})
	}
}

// fields splits at blanks.
func fields(w written) []written {
	var words []written
	for start := 0; start < len(w.text); {
		end := bytes.IndexAny(w.text[start:], blanks)
		if end < 0 {
			end = len(w.text) - start
		}
		if end > 0 {
			words = append(words, w.slice(start, start+end))
		}
		start += end + 1
	}
	return words
}

// stageLike reports whether a name with an unknown part can be a stage: the
// stages are then named after platforms, as in FROM build-${TARGETARCH}.
func (f *dockerfileScan) stageLike(name []byte) bool {
	parts := strings.Split(strings.ToLower(string(name)), "\x00")
	before, after := parts[0], parts[len(parts)-1]
	if before == "" && after == "" {
		return false
	}
	return slices.ContainsFunc(f.stages[:len(f.stages)-1], func(s string) bool {
		return len(s) > len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
	})
}

// arg reads ARG name[=default]...
func (f *dockerfileScan) arg(args written) {
	for _, word := range f.words(args) {
		i := bytes.IndexByte(word.text, '=')
		if i <= 0 {
			continue
		}
		value, err := f.expand(word.slice(i+1, len(word.text)))
		f.args[string(word.text[:i])] = argument{value, err}
	}
}

// words splits at blanks that are not in quotes.
func (f *dockerfileScan) words(w written) []written {
	var words []written
	var quote byte
	start := -1
	for i := 0; i < len(w.text); i++ {
		b := w.text[i]
		if quote == 0 && unicode.IsSpace(rune(b)) && b < 0x80 {
			if start >= 0 {
				words = append(words, w.slice(start, i))
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case b == f.escape && quote != '\'':
			i++
		case b == quote:
			quote = 0
		case quote == 0 && (b == '"' || b == '\''):
			quote = b
		}
	}
	if start >= 0 {
		words = append(words, w.slice(start, len(w.text)))
	}
	return words
}

// option reads the value of a from option, which takes no variables.
func (f *dockerfileScan) option(line int, path string, value written) {
	if i := bytes.IndexByte(value.text, '$'); i >= 0 && i < len(value.text)-1 {
		f.fail(line, "%s=%s: variables are not allowed here; name a stage that is FROM them", path, clip(string(value.text)))
		return
	}
	if len(value.text) == 0 {
		return // the files of the build
	}
	if _, err := strconv.Atoi(string(value.text)); err == nil {
		return // the number of a stage
	}
	stage := ""
	if n := len(f.stages); n > 0 {
		stage = f.stages[n-1]
	}
	f.images = append(f.images, dockerfileImage{name: value, word: value, stage: stage, path: path})
}

// mount reads the value of RUN --mount: key=value pairs with commas between.
func (f *dockerfileScan) mount(line int, path string, value written) {
	for start := 0; start <= len(value.text); {
		end := bytes.IndexByte(value.text[start:], ',')
		if end < 0 {
			end = len(value.text) - start
		}
		field := value.slice(start, start+end)
		start += end + 1
		key, _, _ := bytes.Cut(field.text, []byte("="))
		switch {
		case bytes.IndexByte(field.text, '"') >= 0:
			f.fail(line, "%s: quotes within the option are not read", path)
			return
		case bytes.EqualFold(key, []byte("from")) && len(key) < len(field.text):
			f.option(line, path, field.slice(len(key)+1, len(field.text)))
		}
	}
}

// result are the images that are no stages.
func (f *dockerfileScan) result() Result {
	out := Result{Unscannable: f.bad}
	type same struct {
		text string
		span Span
	}
	seen := map[same]bool{}
	named := map[string]int{} // the first stage of that name
	for i, s := range f.stages {
		if _, ok := named[s]; !ok && s != "" {
			named[s] = i
		}
	}
	for _, image := range f.images {
		text := string(image.name.text)
		stage, ok := named[strings.ToLower(text)]
		// FROM sees the stages above it only.
		if text == "scratch" || ok && (!image.from || stage < image.index) {
			continue
		}
		ref := f.reference(image)
		// Two stages FROM one ARG are one place.
		if key := (same{ref.Text, ref.Span}); !seen[key] {
			seen[key] = true
			out.References = append(out.References, ref)
		}
	}
	return out
}

func (f *dockerfileScan) reference(image dockerfileImage) Reference {
	r := Reference{
		Text:          string(image.name.text),
		Format:        Dockerfile,
		Container:     image.stage,
		ContainerKind: Other,
		Path:          image.path,
	}
	if image.name.together() {
		r.Span = f.span(image.name)
	} else {
		r.Split, r.Span = f.splitReference(image)
	}
	r.Style = f.style(r.Span)
	return r
}

// splitReference says where the fields of a reference are that is not in one
// piece.
func (f *dockerfileScan) splitReference(image dockerfileImage) (*Split, Span) {
	name, tag, digest := image.name, written{}, written{}
	if i := bytes.IndexByte(name.text, '@'); i >= 0 {
		name, digest = name.slice(0, i), name.slice(i+1, len(name.text))
	}
	if i := bytes.LastIndexByte(name.text, ':'); i > bytes.LastIndexByte(name.text, '/') {
		name, tag = name.slice(0, i), name.slice(i+1, len(name.text))
	}
	s := &Split{Repository: f.span(name), Tag: f.span(tag), Digest: f.span(digest)}
	if i := bytes.IndexByte(name.text, '/'); i >= 0 && !name.together() {
		registry, repository := name.slice(0, i), name.slice(i+1, len(name.text))
		if registry.together() && repository.together() {
			s.Registry, s.Repository = f.span(registry), f.span(repository)
		}
	}
	last, span := name, s.Repository
	if len(tag.text) > 0 {
		last, span = tag, s.Tag
	}
	if len(digest.text) > 0 {
		last, span = digest, s.Digest
	}
	if !last.together() && span == (Span{}) {
		span = f.places.span(image.word.at[0], image.word.at[len(image.word.at)-1]+1)
	}
	return s, span
}

// span is where w stands, or nothing if it does not stand in one place.
func (f *dockerfileScan) span(w written) Span {
	if !w.together() {
		return Span{}
	}
	return f.places.span(w.at[0], w.at[0]+len(w.at))
}

func (f *dockerfileScan) style(s Span) Style {
	if s.Start > 0 && s.End < len(f.data) && f.data[s.Start-1] == f.data[s.End] {
		switch f.data[s.End] {
		case '"':
			return Double
		case '\'':
			return Single
		}
	}
	return Plain
}

// clip shortens a text for a message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	if strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

// expand takes off quotes and puts in variables.
func (f *dockerfileScan) expand(w written) (written, error) {
	e := expansion{word: w, escape: f.escape, args: f.args}
	out, err := e.until(0)
	if e.broken != nil {
		err = e.broken
	}
	return out, err
}

// An expansion works like a shell's. It knows ${name}, and of the operators
// -, + and ?, each with and without a colon.
type expansion struct {
	word   written
	pos    int
	escape byte
	args   map[string]argument
	depth  int
	broken error // once it is set, what else comes out has no meaning
}

var (
	errTooLong  = errors.New("the text is too long for an image")
	errNoQuote  = errors.New("a quote has no end")
	errNoBrace  = errors.New("${ has no end")
	errTooDeep  = errors.New("${ is nested too deeply")
	errOperator = errors.New("what stands between ${ and } is not read here")
)

// peek is the next byte, or 0 at the end.
func (e *expansion) peek() byte {
	if e.pos < len(e.word.text) {
		return e.word.text[e.pos]
	}
	return 0
}

func (e *expansion) more() bool { return e.pos < len(e.word.text) }

// take moves the next byte to the output.
func (e *expansion) take(out *written) {
	if e.more() {
		out.add(e.word.text[e.pos], e.word.at[e.pos])
		e.pos++
	}
}

// until reads up to and with stop, or up to the end if that is 0. An error
// says that the text is not known; it is read all the same.
func (e *expansion) until(stop byte) (out written, err error) {
	var quote byte
	for e.more() && e.broken == nil {
		switch b := e.peek(); {
		case quote == 0 && stop != 0 && b == stop:
			e.pos++
			return out, err
		case b == quote:
			quote = 0
			e.pos++
		case quote == '\'':
			e.take(&out)
		case quote == 0 && (b == '"' || b == '\''):
			quote = b
			e.pos++
		case b == e.escape:
			e.escaped(&out, quote)
		case b == '$':
			value, valueErr := e.variable()
			if err == nil {
				err = valueErr
			}
			out.append(value)
		default:
			e.take(&out)
		}
		if len(out.text) > maxValue {
			out = written{}
			if err == nil {
				err = errTooLong
			}
		}
	}
	if e.broken == nil && quote != 0 {
		e.broken = errNoQuote
	}
	if e.broken == nil && stop != 0 {
		e.broken = errNoBrace
	}
	return out, err
}

// escaped reads an escape character. In double quotes it is one only before
// what has a meaning there.
func (e *expansion) escaped(out *written, quote byte) {
	e.pos++
	if next := e.peek(); quote == '"' && e.more() && next != '"' && next != '$' && next != e.escape {
		e.pos--
		e.take(out)
	}
	e.take(out)
}

// variable reads $name or ${name...}.
func (e *expansion) variable() (written, error) {
	dollar := e.pos
	e.pos++
	if e.peek() != '{' {
		if name := e.name(); name != "" {
			return e.value(name)
		}
		return e.word.slice(dollar, e.pos), nil
	}
	e.pos++
	name := e.name()
	operator := e.peek()
	e.pos++
	if operator == '}' && name != "" {
		return e.value(name)
	}
	colon := operator == ':'
	if colon {
		operator = e.peek()
		e.pos++
	}
	if name == "" || operator == 0 || strings.IndexByte("-+?", operator) < 0 {
		e.broken = errOperator
		return written{}, nil
	}
	if e.depth++; e.depth > 100 {
		e.broken = errTooDeep
		return written{}, nil
	}
	word, wordErr := e.until('}')
	e.depth--
	arg, set := e.args[name]
	if arg.err != nil {
		return written{}, arg.err
	}
	set = set && (!colon || len(arg.value.text) > 0)
	switch {
	case operator == '+' && !set:
		return written{}, nil
	case operator == '+', operator == '-' && !set:
		return word, wordErr
	case !set:
		return written{}, fmt.Errorf("%s has no value", clip(name))
	}
	return arg.value, nil
}

// name reads the name of a variable, or a digit.
func (e *expansion) name() string {
	start := e.pos
	for e.more() {
		b := e.peek()
		letter := b == '_' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
		if !letter && (b < '0' || '9' < b) {
			break
		}
		e.pos++
	}
	return string(e.word.text[start:e.pos])
}

func (e *expansion) value(name string) (written, error) {
	arg, ok := e.args[name]
	if !ok {
		return written{}, fmt.Errorf("no ARG before the first FROM gives %s a default", clip(name))
	}
	return arg.value, arg.err
}

// isJSON reports whether the arguments are a JSON list, in which << means
// nothing.
func isJSON(args []byte) bool {
	var list []string
	return bytes.HasPrefix(args, []byte("[")) && json.Unmarshal(args, &list) == nil
}

var heredoc = regexp.MustCompile(`^\d*<<(-?)\s*([^<]*)$`)

// skipHeredocs skips the texts that an instruction takes from the lines that
// follow it.
func (f *dockerfileScan) skipHeredocs(line int, instruction string) {
	words, ok := shellWords(instruction)
	if !ok {
		return
	}
	for _, word := range words {
		m := heredoc.FindStringSubmatch(word)
		if m == nil {
			continue
		}
		end, ok := unquote(m[2])
		if ok && !f.skipTo(end, m[1] == "-") {
			f.fail(line, "the text after <<%s has no end", clip(end))
			return
		}
	}
}

// skipTo skips the lines up to and with one that is end.
func (f *dockerfileScan) skipTo(end string, tabs bool) bool {
	for f.offset < len(f.data) {
		var line []byte
		line, f.offset = f.line(f.offset)
		if tabs {
			line = bytes.TrimLeft(line, "\t")
		}
		if string(line) == end {
			return true
		}
	}
	return false
}

// shellWords splits as a shell does, and keeps quotes. What << is followed by
// belongs to its word. A text with open quotes or braces has no words.
func shellWords(s string) (words []string, ok bool) {
	var word strings.Builder
	for i := 0; i < len(s); {
		n := 1
		switch s[i] {
		case ' ', '\t', '\v', '\f', '\r', '\n':
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
			i++
			continue
		case '\'', '"', '$':
			n = quoted(s[i:], 0)
		case '\\':
			n = min(2, len(s)-i)
		case '<':
			if strings.HasPrefix(s[i:], "<<") {
				n = len(s[i:]) - len(strings.TrimLeft(s[i+2:], " \t\r"))
			}
		}
		if n == 0 {
			return nil, false
		}
		word.WriteString(s[i : i+n])
		i += n
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words, true
}

// quoted is the length of what s begins with: a text in quotes, ${...} or a
// lone $. It is 0 if there is no end.
func quoted(s string, depth int) int {
	if depth > 100 {
		return 0
	}
	var end byte
	i := 1
	switch {
	case s[0] == '\'':
		if n := strings.IndexByte(s[1:], '\''); n >= 0 {
			return n + 2
		}
		return 0
	case s[0] == '"':
		end = '"'
	case strings.HasPrefix(s, "${"):
		name := strings.TrimLeftFunc(s[2:], func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) })
		if !braces.MatchString(name) {
			return 0
		}
		end, i = '}', 2
	default:
		return 1
	}
	for i < len(s) {
		n := 1
		switch b := s[i]; {
		case b == end:
			return i + 1
		case b == '\\':
			n = min(2, len(s)-i)
		case b == '$', end == '}' && (b == '\'' || b == '"'):
			n = quoted(s[i:], depth+1)
		}
		if n == 0 {
			return 0
		}
		i += n
	}
	return 0
}

// braces is what can follow the name in ${name...}.
var braces = regexp.MustCompile(`^(?:\}|:?[-+?]|[#%/])`)

// unquote takes the quotes off the word that ends a heredoc, and reports
// whether it is one word.
func unquote(s string) (string, bool) {
	var out strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == quote:
			quote = 0
		case quote == 0 && (b == '"' || b == '\''):
			quote = b
		case b == '\\' && quote != '\'' && i+1 < len(s) && (quote == 0 || strings.IndexByte(`"$\`, s[i+1]) >= 0):
			i++
			out.WriteByte(s[i])
		case quote == 0 && unicode.IsSpace(rune(b)) && b < 0x80:
			return "", false
		default:
			out.WriteByte(b)
		}
	}
	return out.String(), quote == 0 && out.Len() > 0
}
