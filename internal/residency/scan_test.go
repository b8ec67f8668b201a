package residency

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// encoders is how a value may leave.
var encoders = map[string]func([]byte) []byte{
	"plain":              func(b []byte) []byte { return b },
	"upper case":         bytes.ToUpper,
	"base64":             func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) },
	"base64 of URLs":     func(b []byte) []byte { return []byte(base64.RawURLEncoding.EncodeToString(b)) },
	"base64 in lines":    func(b []byte) []byte { return lines(base64.StdEncoding.EncodeToString(b), 76, "\r\n") },
	"base64 of base64":   func(b []byte) []byte { return encode(encode(b, "base64"), "base64") },
	"base64 of UTF-16":   func(b []byte) []byte { return encode(encode(b, "UTF-16 LE"), "base64") },
	"base64 of hex":      func(b []byte) []byte { return encode(encode(b, "hex"), "base64") },
	"base64 of JSON":     func(b []byte) []byte { return encode(encode(b, "JSON escapes"), "base64") },
	"base64 of gzip":     func(b []byte) []byte { return encode(encode(b, "gzip"), "base64") },
	"base64 of zstd":     func(b []byte) []byte { return encode(encode(b, "zstd"), "base64") },
	"base64 of zlib":     func(b []byte) []byte { return encode(encode(b, "zlib"), "base64") },
	"gzip of base64":     func(b []byte) []byte { return encode(encode(b, "base64"), "gzip") },
	"gzip of gzip":       func(b []byte) []byte { return encode(encode(b, "gzip"), "gzip") },
	"hex":                func(b []byte) []byte { return []byte(hex.EncodeToString(b)) },
	"hex, upper case":    func(b []byte) []byte { return fmt.Appendf(nil, "%X", b) },
	"hex with spaces":    func(b []byte) []byte { return fmt.Appendf(nil, "% x", b) },
	"hex of base64":      func(b []byte) []byte { return encode(encode(b, "base64"), "hex") },
	"hex of gzip":        func(b []byte) []byte { return encode(encode(b, "gzip"), "hex") },
	"%v of bytes":        func(b []byte) []byte { return fmt.Appendf(nil, "%v", b) },
	"%#v of bytes":       func(b []byte) []byte { return fmt.Appendf(nil, "%#v", b) },
	"array of numbers":   func(b []byte) []byte { return []byte(strings.ReplaceAll(fmt.Sprint(b), " ", ",")) },
	"percent":            func(b []byte) []byte { return each(b, "%%%02X") },
	"percent, lower":     func(b []byte) []byte { return each(b, "%%%02x") },
	"UTF-16 LE":          func(b []byte) []byte { return wide(b, binary.LittleEndian) },
	"UTF-16 BE":          func(b []byte) []byte { return wide(b, binary.BigEndian) },
	"JSON escapes":       func(b []byte) []byte { return each(b, `\u%04x`) },
	"JSON escapes, JSON": func(b []byte) []byte { return marshal(string(each(b, `\u%04X`))) },
	"JSON in JSON":       func(b []byte) []byte { return marshal(string(marshal(string(b)))) },
	"quoted-printable":   quoted,
	"protobuf field": func(b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 7, protowire.BytesType), b)
	},
	"snappy block": func(b []byte) []byte { return s2.EncodeSnappy(nil, b) },
	"lz4":          lz4Frame,
	"gzip": func(b []byte) []byte {
		return through(b, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	},
	"zlib": func(b []byte) []byte {
		return through(b, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	},
	"snappy": func(b []byte) []byte {
		return through(b, func(w io.Writer) io.WriteCloser { return s2.NewWriter(w, s2.WriterSnappyCompat()) })
	},
	"zstd": func(b []byte) []byte {
		w, _ := zstd.NewWriter(nil)
		return w.EncodeAll(b, nil)
	},
}

// tears are the encodings that leave part of a value to be seen beside the whole.
var tears = map[string]bool{"snappy block": true, "lz4": true, "base64 in lines": true, "quoted-printable": true}

// encode is how an encoder names another: the map cannot refer to itself.
func encode(b []byte, name string) []byte {
	switch name {
	case "base64":
		return []byte(base64.StdEncoding.EncodeToString(b))
	case "hex":
		return []byte(hex.EncodeToString(b))
	case "UTF-16 LE":
		return wide(b, binary.LittleEndian)
	case "JSON escapes":
		return each(b, `\u%04x`)
	case "gzip":
		return through(b, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	case "zlib":
		return through(b, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	default:
		w, _ := zstd.NewWriter(nil)
		return w.EncodeAll(b, nil)
	}
}

func through(b []byte, compressor func(io.Writer) io.WriteCloser) []byte {
	var out bytes.Buffer
	w := compressor(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func each(b []byte, format string) (out []byte) {
	for _, c := range b {
		out = fmt.Appendf(out, format, c)
	}
	return out
}

func wide(b []byte, order binary.AppendByteOrder) (out []byte) {
	for _, u := range utf16.Encode([]rune(string(b))) {
		out = order.AppendUint16(out, u)
	}
	return out
}

func marshal(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

func lines(text string, width int, end string) (out []byte) {
	for len(text) > width {
		out = append(append(out, text[:width]...), end...)
		text = text[width:]
	}
	return append(out, text...)
}

func quoted(b []byte) []byte {
	return through(b, func(w io.Writer) io.WriteCloser { return quotedprintable.NewWriter(w) })
}

// lz4Frame writes one block with a copy of what repeats at once, as a compressor would.
func lz4Frame(b []byte) []byte {
	var block []byte
	flush := func(literals []byte, offset, match int) {
		token := byte(min(len(literals), 15) << 4)
		if offset > 0 {
			token |= byte(min(match-4, 15))
		}
		block = append(block, token)
		more := func(n int) {
			for n -= 15; n >= 0; n -= 255 {
				block = append(block, byte(min(n, 255)))
				if n < 255 {
					break
				}
			}
		}
		more(len(literals))
		block = append(block, literals...)
		if offset > 0 {
			block = binary.LittleEndian.AppendUint16(block, uint16(offset))
			more(match - 4)
		}
	}
	last := map[string]int{}
	from := 0
	for i := 0; i+4 <= len(b); i++ {
		at, ok := last[string(b[i:i+4])]
		last[string(b[i:i+4])] = i
		if !ok {
			continue
		}
		n := 4
		for i+n < len(b) && b[at+n] == b[i+n] {
			n++
		}
		flush(b[from:i], i-at, n)
		i += n - 1
		from = i + 1
	}
	flush(b[from:], 0, 0)
	out := []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(block)))
	return binary.LittleEndian.AppendUint32(append(out, block...), 0)
}

// noise is data that holds no value: text as logs have it, or anything.
func noise(random *rand.Rand, n int) []byte {
	out := make([]byte, n)
	if text := random.IntN(2) == 0; text {
		const letters = "abcdef0123456789 {}\":,\nABCXYZ+/=%\\u"
		for i := range out {
			out[i] = letters[random.IntN(len(letters))]
		}
		return out
	}
	return anything(random, n)
}

func anything(random *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(random.Uint32())
	}
	return out
}

func TestAValueIsFoundInEveryEncodingAtEveryBorderOfAPiece(t *testing.T) {
	t.Parallel()
	set := New(1000)
	names := slices.Sorted(maps.Keys(encoders))
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "noise"), 1))
		which := rapid.IntRange(0, set.Len()-1).Draw(t, "value")
		name := rapid.SampledFrom(names).Draw(t, "encoding")
		around := rapid.SampledFrom([]string{"", "x", "xy", `{"name":"`, "Der Patient "}).Draw(t, "before")
		encoded := encoders[name]([]byte(around + set.Text(which) + `", "n": 7}`))
		var data []byte
		data = append(data, noise(random, rapid.IntRange(0, 20_000).Draw(t, "offset"))...)
		data = append(append(data, '|'), encoded...)
		data = append(append(data, '|'), noise(random, rapid.IntRange(0, 3000).Draw(t, "rest"))...)
		scanner := set.Scanner()
		src := &source{name: "test", tries: blockTries}
		require.NoError(t, scanner.stream(src, bytes.NewReader(data), rapid.IntRange(300, 9000).Draw(t, "piece"), 16<<10))
		report := scanner.Report()
		require.True(t, report.Has(which), "%s:\n%s", name, report)
		require.Equal(t, 1, report.Found())
		require.Equal(t, int64(len(data)), report.Bytes)
		for _, h := range report.Hits {
			require.NotContains(t, h.Encoding+h.Label, set.prefix)
			if !tears[name] {
				require.NotEqual(t, Label(torn), h.Label, "%s:\n%s", name, report)
			}
			require.InDelta(t, bytes.Index(data, encoded), h.Offset, float64(len(encoded)+160), "%s:\n%s", name, report)
		}
	})
}

func TestManyValuesInOneCompressedDocumentAreAllFound(t *testing.T) {
	t.Parallel()
	set := New(500)
	var document []byte
	for i := range set.Len() {
		document = fmt.Appendf(document, `{"n": %d, "text": %q}`+"\n", i, set.Text(i))
	}
	for name, encoder := range encoders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scanner := set.Scanner()
			scanner.Bytes(name, encoder(document))
			require.Equal(t, set.Len(), scanner.Report().Found(), "%s", scanner.Report())
		})
	}
}

func TestWhatIsLeftOfAValueIsAHit(t *testing.T) {
	t.Parallel()
	set := New(3)
	for name, text := range map[string]string{
		"cut off":              set.Text(0)[:len("Pat. ")+prefixLen+9],
		"of no value":          set.prefix + strings.Repeat("0", digitsLen),
		"masked in the middle": set.prefix + "****" + set.Token(1)[prefixLen+4:],
	} {
		scanner := set.Scanner()
		scanner.Bytes(name, []byte("error: value "+text+" is too long"))
		require.Equal(t, 1, scanner.Report().Total(), name)
		require.Equal(t, "torn", scanner.Report().Hits[0].Label, name)
	}
}

func TestAReportNamesNoValue(t *testing.T) {
	t.Parallel()
	set := New(50)
	scanner := set.Scanner()
	for i := range set.Len() {
		scanner.Bytes("memory", []byte(set.Text(i)))
	}
	require.Equal(t, 50, scanner.Report().Found())
	require.NotContains(t, fmt.Sprintf("%+v", scanner.Report()), set.prefix)
	require.NotContains(t, scanner.Report().String(), set.prefix)
}

// How much other data is looked through: make residency has a gigabyte.
var noiseMB = flag.Int("noise", 8, "megabytes of other data in which nothing may be found")

// A prefix is twelve letters of thirteen: of false hits there is less than one in ten
// thousand gigabytes.
func TestNothingIsFoundInOtherData(t *testing.T) {
	t.Parallel()
	other, set := New(20), New(10_000)
	random := rand.New(rand.NewPCG(1, 2))
	var data []byte
	for i := range other.Len() {
		for _, name := range slices.Sorted(maps.Keys(encoders)) {
			data = append(data, encoders[name]([]byte(other.Text(i)))...)
			data = append(data, noise(random, 1000)...)
		}
	}
	scanner := set.Scanner()
	for range max(1, *noiseMB*1_000_000/len(data)) {
		scanner.Bytes("other data", data)
		data = data[1:] // aligned in another way
		for range 1000 {
			data[random.IntN(len(data))] = byte(random.Uint32())
		}
	}
	require.Zero(t, scanner.Report().Total(), "%s", scanner.Report())
	require.NotZero(t, scanner.Report().Bytes)
	t.Log(scanner.Report())
}

func BenchmarkScan(b *testing.B) {
	set := New(10_000)
	random := rand.New(rand.NewPCG(1, 2))
	for name, data := range map[string][]byte{
		"text":   bytes.Repeat([]byte(`{"level":"info","at":"2026-11-30T12:00:00Z","msg":"batch written","flow":"account-sync","rows":417}`+"\n"), 300_000),
		"random": anything(random, 32<<20),
		"zeros":  make([]byte, 32<<20),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			scanner := set.Scanner()
			for b.Loop() {
				scanner.Bytes(name, data)
			}
			require.Zero(b, scanner.Report().Total())
		})
	}
}
