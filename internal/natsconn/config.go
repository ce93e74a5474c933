// Package natsconn is how the NATS adapters reach their servers: addresses, credentials, TLS, reconnecting without end,
// streams made on request, and errors that say what to do. It holds no batches, no acknowledgements and no policy.
package natsconn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Access says which servers and as whom. At most one of user, token, nkey and creds may be set.
type Access struct {
	// URL is one server of the cluster, or several separated by commas: nats://host:4222. The scheme nats may be left
	// out; tls asks for TLS, ws and wss speak over WebSocket. The default port is 4222 (ws: 80, wss: 443). Required.
	URL string `yaml:"url"`
	// User is the name of an account user, with Password.
	User string `yaml:"user"`
	// Password belongs to User. Keep it out of the file with ${VAR} or ${file:/path}.
	Password string `yaml:"password"`
	// Token is the one secret of servers that know no users.
	Token string `yaml:"token"`
	// NKey is the seed of a user's Ed25519 key (it begins with SU), or the path of a file that holds it.
	NKey string `yaml:"nkey"`
	// Creds is the path of a credentials file with JWT and seed, as nsc writes it. It is read again at each connection.
	Creds string `yaml:"creds"`
	// TLS makes connections speak TLS 1.2 or later. An empty one trusts the authorities of the system.
	TLS *TLS `yaml:"tls"`
}

// TLS names what both sides prove themselves with. All files are PEM.
type TLS struct {
	// CA is a file with the authorities that may have signed the servers' certificates. Default: the system's.
	CA string `yaml:"ca"`
	// Cert is a file with the client's certificate chain, for mutual TLS. It is read again at each connection.
	Cert string `yaml:"cert"`
	// Key is the file with the key of Cert.
	Key string `yaml:"key"`
	// ServerName is the name that the servers' certificates must carry. Default: the host that is dialled.
	ServerName string `yaml:"server_name"`
	// HandshakeFirst begins with TLS at once, for servers with handshake_first: true.
	HandshakeFirst bool `yaml:"handshake_first"`
}

// Fault is something wrong at a key of a configuration.
type Fault struct {
	key string
	err error
}

// NewFault says what is wrong at key.
func NewFault(key, format string, args ...any) *Fault {
	return &Fault{key: key, err: fmt.Errorf(format, args...)}
}

func (f *Fault) Error() string { return f.key + ": " + f.err.Error() }
func (f *Fault) Unwrap() error { return f.err }

// Key names the key at fault, relative to the configuration that was validated.
func (f *Fault) Key() string { return f.key }

// Faults says all that is wrong with a. It reads no file.
func (a *Access) Faults() error {
	var errs []error
	if _, err := a.servers(); err != nil {
		errs = append(errs, NewFault("url", "%w", err))
	}
	var ways []string
	for _, w := range []struct{ key, value string }{{"user", a.User}, {"token", a.Token}, {"nkey", a.NKey}, {"creds", a.Creds}} {
		if w.value != "" {
			ways = append(ways, w.key)
		}
	}
	if len(ways) > 1 {
		errs = append(errs, NewFault(ways[1], "expected one way to log in, got %s: keep the one that the server knows", strings.Join(ways, " and ")))
	}
	switch {
	case a.User != "" && a.Password == "":
		errs = append(errs, NewFault("password", "expected the password of user %q, got none (is the variable or file that holds it empty?)", a.User))
	case a.Password != "" && a.User == "":
		errs = append(errs, NewFault("user", "expected the user that the password belongs to, got none"))
	}
	if isSeed(a.NKey) {
		if _, err := nkeys.FromSeed([]byte(strings.TrimSpace(a.NKey))); err != nil {
			errs = append(errs, NewFault("nkey", "expected the seed of a user's nkey (58 characters that begin with SU) or the path of a file with one: %w", err))
		}
	}
	if t := a.TLS; t != nil {
		switch {
		case t.Cert != "" && t.Key == "":
			errs = append(errs, NewFault("tls.key", "expected the key of the certificate tls.cert, got none"))
		case t.Key != "" && t.Cert == "":
			errs = append(errs, NewFault("tls.cert", "expected the certificate of the key tls.key, got none"))
		}
	}
	return errors.Join(errs...)
}

// servers completes and checks the addresses.
func (a *Access) servers() ([]string, error) {
	var all []string
	webSockets := 0
	for one := range strings.SplitSeq(a.URL, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil {
			// The parser's error repeats the text, which may hold a password.
			return nil, errors.New("expected nats://host:port, got something that is no URL")
		}
		switch {
		case u.User != nil:
			return nil, fmt.Errorf("expected no credentials in the URL of %s: URLs end up in logs, so set user and password, or token", u.Host)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			return nil, fmt.Errorf("expected a scheme out of nats, tls, ws and wss, got %q", u.Scheme)
		case u.Hostname() == "":
			return nil, fmt.Errorf("expected nats://host:port, got %q without a host", one)
		case u.Path != "" && u.Path != "/" && (u.Scheme == "nats" || u.Scheme == "tls"), u.RawQuery != "", u.Fragment != "":
			return nil, fmt.Errorf("expected nothing behind the port of %s", u.Host)
		}
		if p := u.Port(); p != "" {
			if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
				return nil, fmt.Errorf("expected a port from 1 to 65535, got %q", p)
			}
		} else if strings.HasSuffix(u.Host, ":") {
			return nil, fmt.Errorf("expected a port behind the colon of %q", u.Host)
		}
		if strings.HasPrefix(u.Scheme, "ws") {
			webSockets++
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("expected the address of a server as nats://host:port, got none")
	}
	if webSockets > 0 && webSockets < len(all) {
		return nil, errors.New("expected either ws and wss or nats and tls, got both")
	}
	return all, nil
}

// who names the identity for messages to people; never a secret.
func (a *Access) who() string {
	switch {
	case a.User != "":
		return fmt.Sprintf("user %q (check user and password)", a.User)
	case a.Token != "":
		return "the token (check token)"
	case a.NKey != "":
		if key, err := a.publicKey(); err == nil {
			return fmt.Sprintf("the nkey %s (check that the server lists it)", key)
		}
		return "the nkey (check nkey)"
	case a.Creds != "":
		return fmt.Sprintf("the credentials file %s (check that it is of the right account and has not expired)", a.Creds)
	}
	return "a client without credentials (set user and password, token, nkey or creds)"
}

func isSeed(nkey string) bool {
	nkey = strings.TrimSpace(nkey)
	return strings.HasPrefix(nkey, "SU") && !strings.ContainsAny(nkey, "/.\\")
}

// pair reads the key of NKey. The caller wipes it.
func (a *Access) pair() (nkeys.KeyPair, error) {
	if isSeed(a.NKey) {
		return nkeys.FromSeed([]byte(strings.TrimSpace(a.NKey)))
	}
	text, err := os.ReadFile(a.NKey)
	if err != nil {
		return nil, err
	}
	return nkeys.ParseDecoratedNKey(text)
}

func (a *Access) publicKey() (string, error) {
	pair, err := a.pair()
	if err != nil {
		return "", err
	}
	defer pair.Wipe()
	return pair.PublicKey()
}

// login turns the credentials into options, reading the files once to see that they can be used.
func (a *Access) login() ([]nats.Option, error) {
	switch {
	case a.User != "":
		return []nats.Option{nats.UserInfo(a.User, a.Password)}, nil
	case a.Token != "":
		return []nats.Option{nats.Token(a.Token)}, nil
	case a.NKey != "":
		public, err := a.publicKey()
		if err != nil {
			return nil, NewFault("nkey", "cannot use the seed: %w", err)
		}
		if !nkeys.IsValidPublicUserKey(public) {
			return nil, NewFault("nkey", "expected the seed of a user (it begins with SU), got that of %s", public)
		}
		return []nats.Option{nats.Nkey(public, func(nonce []byte) ([]byte, error) {
			pair, err := a.pair()
			if err != nil {
				return nil, err
			}
			defer pair.Wipe()
			return pair.Sign(nonce)
		})}, nil
	case a.Creds != "":
		text, err := os.ReadFile(a.Creds)
		if err != nil {
			return nil, NewFault("creds", "cannot read the credentials: %w", err)
		}
		defer clear(text)
		// The parser takes any text for a JWT that stands there without its frame.
		if jwt, err := nkeys.ParseDecoratedJWT(text); err != nil || strings.Count(jwt, ".") != 2 {
			return nil, NewFault("creds", "expected a file with a user's JWT and seed, as nsc writes it, in %s", a.Creds)
		}
		pair, err := nkeys.ParseDecoratedUserNKey(text)
		if err != nil {
			return nil, NewFault("creds", "expected a user's seed beside the JWT in %s: %w", a.Creds, err)
		}
		pair.Wipe()
		return []nats.Option{nats.UserCredentials(a.Creds)}, nil
	}
	return nil, nil
}

// secure turns the TLS settings into options.
func (a *Access) secure() ([]nats.Option, error) {
	t := a.TLS
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, NewFault("tls.ca", "cannot read the authorities: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, NewFault("tls.ca", "expected PEM certificates in %s, found none", t.CA)
		}
	}
	if t.Cert != "" {
		cert, key := t.Cert, t.Key
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return nil, NewFault("tls.cert", "cannot use the client certificate: %w", err)
		}
		// Read anew for each handshake, which is rare: a renewed certificate needs no restart.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			return &pair, err
		}
	}
	options := []nats.Option{nats.Secure(c)}
	if t.HandshakeFirst {
		options = append(options, nats.TLSHandshakeFirst())
	}
	return options, nil
}

// hosts are the addresses for messages to people.
func (a *Access) hosts() string {
	servers, err := a.servers()
	if err != nil {
		return a.URL
	}
	for i, s := range servers {
		if u, err := url.Parse(s); err == nil {
			if u.Port() == "" && !strings.HasPrefix(u.Scheme, "ws") {
				u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(nats.DefaultPort))
			}
			servers[i] = u.String()
		}
	}
	return strings.Join(servers, ",")
}
