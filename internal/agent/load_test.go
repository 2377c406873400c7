package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/internal/certificates"
)

// key32 is a gossip key.
const key32 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func fromFlags(values map[string]string) Layer {
	return Layer{Values: values, Label: func(key string) string { return "-" + strings.ReplaceAll(key, "_", "-") }}
}

func fromHost(values map[string]string) Layer {
	return Layer{Values: values, Label: func(key string) string { return key }}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.hcl")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestNoSettings(t *testing.T) {
	c, err := Load(fromFlags(nil), nil, Standalone)
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, host, c.node.Name)
	require.True(t, c.node.Memory)
	require.Equal(t, 1, c.node.Expect)
	require.Equal(t, "127.0.0.1:7946", c.node.GossipAddr)
	require.Equal(t, "127.0.0.1:7947", c.node.MeshAddr)
	require.Equal(t, "127.0.0.1:8500", c.httpAddr)
	require.Equal(t, 8<<20, c.node.MaxValueSize)
	require.Equal(t, 512<<10, c.httpMaxValueSize)
	require.Equal(t, 10*time.Minute, c.node.MaxClockDrift)
	require.Zero(t, c.node.Replicas, "a ring that exists has its own")
	require.Equal(t, 10*time.Minute, c.node.ReapAfter)
	require.Zero(t, c.node.SyncRate, "gently")
	require.Equal(t, 4<<20, c.node.RepairRate)
	require.False(t, c.leaveOnStop)
}

func TestPrecedence(t *testing.T) {
	file := writeConfig(t, `
		name        = "file"
		expect      = 3
		memory      = true
		seeds       = ["127.0.0.1:1", "127.0.0.1:2"]
		log_level   = "warn"
		gossip_addr = "127.0.0.1:4"
	`)
	environ := []string{"CHORD_NAME=environment", "CHORD_EXPECT=4", "CHORD_GOSSIP_ADDR=", "CHORD_CONFIG=" + file}
	c, err := Load(fromFlags(map[string]string{"name": "flag"}), environ, Standalone)
	require.NoError(t, err)
	require.Equal(t, "flag", c.node.Name, "the flag wins")
	require.Equal(t, 4, c.node.Expect, "then the environment")
	require.Equal(t, "warn", c.logLevel, "then the file")
	require.Equal(t, []string{"127.0.0.1:1", "127.0.0.1:2"}, c.node.Seeds)
	require.True(t, c.node.Memory)
	require.Equal(t, "127.0.0.1:4", c.node.GossipAddr, "an empty variable is not set")
	require.Equal(t, "127.0.0.1:7947", c.node.MeshAddr, "then the default")

	// A flag names another file than the environment.
	other := writeConfig(t, `name = "other"`+"\n"+`seeds = "127.0.0.1:9"`+"\n"+`memory = "true"`)
	c, err = Load(fromFlags(map[string]string{"config": other}), []string{"CHORD_CONFIG=" + file}, Standalone)
	require.NoError(t, err)
	require.Equal(t, "other", c.node.Name)
	require.Equal(t, []string{"127.0.0.1:9"}, c.node.Seeds)
	require.Zero(t, c.node.Expect, "with seeds it joins and never founds")

	// A wrong value is refused although another overrides it.
	_, err = Load(fromFlags(map[string]string{"replicas": "3"}), []string{"CHORD_REPLICAS=7"}, Standalone)
	require.EqualError(t, err, `CHORD_REPLICAS: it is "7"; allowed is 1 to 5`)
}

// Every setting can be set in every way, and arrives.
func TestEverySetting(t *testing.T) {
	tls := t.TempDir()
	require.NoError(t, certificates.Write(tls))
	values := map[string]string{
		"name": "n", "role": "member", "data_dir": "d", "memory": "false", "gossip_addr": "127.0.0.1:1", "gossip_advertise": "127.0.0.2:1",
		"gossip_key": key32 + ",a2tra2tra2tra2tra2traw==", "mesh_addr": "127.0.0.1:2", "mesh_advertise": "127.0.0.2:2", "http_addr": "127.0.0.1:3", "http_hosts": "a.example,b", "seeds": "127.0.0.1:4,localhost:5",
		"expect": "3", "replicas": "2", "tokens": "8", "profile": "wan", "max_value_size": "1000", "http_max_value_size": "100",
		"max_clock_drift": "5s", "max_outgoing": "7", "log_level": "debug", "log_json": "true", "insecure": "true",
		"leave_on_stop": "true", "dead_member_reap_after": "off", "sync_rate": "3MiB", "repair_rate": "5000",
		"tls_ca": filepath.Join(tls, "ca.pem"), "tls_cert": filepath.Join(tls, "cert.pem"), "tls_key": filepath.Join(tls, "key.pem"),
	}
	require.Len(t, values, len(Settings)-1, "all but config")
	environ, file := []string{}, ""
	for key, v := range values {
		environ = append(environ, Variable(key)+"="+v)
		file += key + " = \"" + v + "\"\n"
	}
	for name, from := range map[string]func() (*Config, error){
		"flags":       func() (*Config, error) { return Load(fromFlags(values), nil, Standalone) },
		"environment": func() (*Config, error) { return Load(fromFlags(nil), environ, Standalone) },
		"file": func() (*Config, error) {
			return Load(fromFlags(map[string]string{"config": writeConfig(t, file)}), nil, Standalone)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := from()
			require.NoError(t, err)
			require.NotNil(t, c.node.TLS)
			require.NotNil(t, c.certificate)
			c.node.TLS = nil // it is made of functions
			require.Equal(t, chord.Config{
				Name: "n", Role: chord.RoleMember, DataDir: "d", GossipAddr: "127.0.0.1:1", GossipAdvertise: "127.0.0.2:1",
				GossipKeys: [][]byte{[]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f"), []byte("kkkkkkkkkkkkkkkk")},
				MeshAddr:   "127.0.0.1:2", MeshAdvertise: "127.0.0.2:2", Seeds: []string{"127.0.0.1:4", "localhost:5"},
				Expect: 3, Replicas: 2, Tokens: 8, GossipProfile: "wan", MaxValueSize: 1000, MaxClockDrift: 5 * time.Second, MaxOutgoing: 7,
				ReapAfter: -1, SyncRate: 3 << 20, RepairRate: 5000,
			}, c.node)
			require.Equal(t, "127.0.0.1:3", c.httpAddr)
			require.Equal(t, []string{"127.0.0.1", "a.example", "b"}, c.hosts())
			require.Equal(t, 100, c.httpMaxValueSize)
			require.Equal(t, "debug", c.logLevel)
			require.True(t, c.json)
			require.True(t, c.insecure)
			require.True(t, c.leaveOnStop)
		})
	}
}

func TestWrongValues(t *testing.T) {
	const anAddress = `allowed is host:port, such as 127.0.0.1:7946`
	for _, test := range []struct{ key, value, want string }{
		{"name", "", `allowed is 1 to 64 bytes of printable text`},
		{"name", strings.Repeat("n", 65), `allowed is 1 to 64 bytes of printable text`},
		{"name", "a\nb", `allowed is 1 to 64 bytes of printable text`},
		{"role", "leech", `allowed is member or client`},
		{"data_dir", "", `allowed is a path`},
		{"memory", "1", `allowed is true or false`},
		{"gossip_addr", "localhost", anAddress},
		{"gossip_addr", "", anAddress},
		{"gossip_advertise", "x:70000", anAddress + ": ports are 0 to 65535"},
		{"mesh_addr", ":7947", anAddress + ": it names no host; 0.0.0.0 is every interface"},
		{"mesh_advertise", "x:http", anAddress + ": ports are 0 to 65535"},
		{"http_addr", "8500", anAddress + ", or empty"},
		{"http_hosts", "", `allowed is up to 64 host names without ports, separated by commas`},
		{"http_hosts", "a,b:8500", `allowed is up to 64 host names without ports, separated by commas`},
		{"http_hosts", "*.example", `allowed is up to 64 host names without ports, separated by commas`},
		{"http_hosts", strings.Repeat("a,", 64) + "a", `allowed is up to 64 host names without ports, separated by commas`},
		{"seeds", "", `allowed is up to 64 addresses host:port, separated by commas`},
		{"seeds", "a:1,,b:2", `allowed is up to 64 addresses host:port, separated by commas`},
		{"seeds", "a:0", `allowed is up to 64 addresses host:port, separated by commas: port 0 cannot be called`},
		{"seeds", strings.Repeat("a:1,", 64) + "a:1", `allowed is up to 64 addresses host:port, separated by commas`},
		{"expect", "-1", `allowed is 0 to 1024`},
		{"expect", "1025", `allowed is 0 to 1024`},
		{"expect", "three", `allowed is 0 to 1024`},
		{"replicas", "0", `allowed is 1 to 5`},
		{"replicas", "6", `allowed is 1 to 5`},
		{"tokens", "0", `allowed is 1 to 1024`},
		{"profile", "moon", `allowed is local, lan or wan`},
		{"max_value_size", "0", `allowed is 1 to 15728640 bytes`},
		{"max_value_size", "8MiB", `allowed is 1 to 15728640 bytes`},
		{"http_max_value_size", "15728641", `allowed is 1 to 15728640 bytes`},
		{"max_clock_drift", "10", `allowed is 1s to 24h`},
		{"max_clock_drift", "999ms", `allowed is 1s to 24h`},
		{"max_clock_drift", "25h", `allowed is 1s to 24h`},
		{"max_outgoing", "0", `allowed is 1 to 4096`},
		{"log_level", "loud", `allowed is trace, debug, info, warn, error or off`},
		{"log_json", "yes", `allowed is true or false`},
		{"tls_ca", "", `allowed is a path`},
		{"tls_cert", "", `allowed is a path`},
		{"tls_key", "", `allowed is a path`},
		{"insecure", "TRUE", `allowed is true or false`},
		{"config", "", `allowed is a path`},
		{"leave_on_stop", "on", `allowed is true or false`},
		{"dead_member_reap_after", "999ms", `allowed is 1s to 720h, or off`},
		{"dead_member_reap_after", "721h", `allowed is 1s to 720h, or off`},
		{"dead_member_reap_after", "10", `allowed is 1s to 720h, or off`},
		{"dead_member_reap_after", "never", `allowed is 1s to 720h, or off`},
		{"sync_rate", "1023", `allowed is auto, 1KiB to 64GiB, or a number of bytes`},
		{"sync_rate", "65GiB", `allowed is auto, 1KiB to 64GiB, or a number of bytes`},
		{"sync_rate", "9223372036854775807GiB", `allowed is auto, 1KiB to 64GiB, or a number of bytes`},
		{"sync_rate", "8 MiB", `allowed is auto, 1KiB to 64GiB, or a number of bytes`},
		{"sync_rate", "8MB", `allowed is auto, 1KiB to 64GiB, or a number of bytes`},
		{"sync_rate", "1.5MiB", `allowed is auto, 1KiB to 64GiB, or a number of bytes`},
		{"repair_rate", "-1", `allowed is 1KiB to 64GiB, or a number of bytes`},
		{"repair_rate", "off", `allowed is 1KiB to 64GiB, or a number of bytes`},
		{"repair_rate", "MiB", `allowed is 1KiB to 64GiB, or a number of bytes`},
	} {
		t.Run(test.key+"="+test.value[:min(len(test.value), 10)], func(t *testing.T) {
			_, err := Load(fromHost(map[string]string{test.key: test.value}), nil, Standalone)
			require.ErrorContains(t, err, test.key+": it is ")
			require.ErrorContains(t, err, test.value[:min(len(test.value), 1)])
			require.ErrorContains(t, err, test.want)
		})
	}
	// A key does not show in an error.
	_, err := Load(fromHost(map[string]string{"gossip_key": "c2VzYW1l"}), nil, Standalone)
	require.EqualError(t, err, "gossip_key: it is 8 characters that are not shown here; allowed is 16, 24 or 32 bytes in base64, or up to 4 of those, separated by commas")
}

func TestRates(t *testing.T) {
	for value, want := range map[string]int{"auto": 0, "1024": 1024, "1KiB": 1024, "8388608": 8 << 20, "8MiB": 8 << 20, "64GiB": 64 << 30} {
		require.Equal(t, want, settle(t, Standalone, map[string]string{"sync_rate": value}).node.SyncRate, value)
	}
	require.Equal(t, 90*time.Second, settle(t, Standalone, map[string]string{"dead_member_reap_after": "90s"}).node.ReapAfter)
}

func TestUnknown(t *testing.T) {
	_, err := Load(fromHost(map[string]string{"data_directory": "x", "node": "y"}), nil, InPlugin)
	require.EqualError(t, err, "data_directory: there is no such setting; did you mean \"data_dir\"?\nnode: there is no such setting; did you mean \"name\"?")

	_, err = Load(fromFlags(nil), []string{"CHORD_SEED=x", "PATH=/bin"}, Standalone)
	require.EqualError(t, err, "the environment variable CHORD_SEED is no setting; did you mean CHORD_SEEDS?")

	file := writeConfig(t, "expct = 3\n")
	_, err = Load(fromFlags(map[string]string{"config": file}), nil, Standalone)
	require.EqualError(t, err, file+`: expct: there is no such setting; did you mean "expect"?`)

	// These begin like ours and belong to others.
	c, err := Load(fromFlags(nil), []string{
		"CHORD_PLUGIN=cookie", "CHORD_TEST_X=1", "CHORD_SERVICE_HOST=10.0.0.1", "CHORD_SERVICE_PORT=8500", "CHORD_SERVICE_PORT_HTTP=8500",
		"CHORD_LOCK_KEY=l", "CHORD_LOCK_SESSION=s", "CHORD_LOCK_TOKEN=7",
		"CHORD_PORT=tcp://10.0.0.1:8500", "CHORD_PORT_8500_TCP=x", "CHORD_PORT_8500_TCP_ADDR=x", "CHORD_AGENT_SERVICE_HOST=10.0.0.2",
	}, Standalone)
	require.NoError(t, err)
	require.Empty(t, c.from)
}

func TestFile(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"syntax", "name =", "agent.hcl:1"},
		{"block", "agent {\n}\n", "agent.hcl:1"},
		{"twice", "name = \"a\"\nname = \"b\"\n", "agent.hcl:2"},
		{"expression", "name = hostname\n", "agent.hcl:1"},
		{"object", "name = { a = 1 }\n", "agent.hcl: name: "},
		{"null", "name = null\n", "agent.hcl: name: "},
		{"fraction", "expect = 1.5\n", `agent.hcl: expect: it is "1.5"; allowed is 0 to 1024`},
		{"list", "name = [\"a\", \"b\\n\"]\n", "agent.hcl: name: it is "},
		{"file", "config = \"x\"\n", "a file names no other file"},
		{"long", strings.Repeat("#", maxFile+1), "has more than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(fromFlags(map[string]string{"config": writeConfig(t, test.text)}), nil, Standalone)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestNearest(t *testing.T) {
	require.Equal(t, 0, distance("abc", "abc"))
	require.Equal(t, 3, distance("", "abc"))
	require.Equal(t, 3, distance("abc", ""))
	require.Equal(t, 3, distance("kitten", "sitting"))
	require.Equal(t, 2, distance("ab", "ba"))
	require.Equal(t, "seeds", Nearest("sedes", keys()))
	require.Equal(t, "mesh_addr", Nearest("meshaddr", keys()))
}
