package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// gossipKeySize is the size of a new gossip key in bytes: AES-256.
const gossipKeySize = 32

func newKeygen(s *streams) *command {
	c := newCommand(s, "keygen", "", "makes a gossip key")
	c.text = `The key is 32 random bytes in base64. Give the same key to every node, as
gossip_key in its file or as CHORD_GOSSIP_KEY; a flag shows in the list of
processes. To change it restart the nodes one by one, three times: with OLD,NEW,
then with NEW,OLD, and then with NEW.`
	asJSON := c.flags.Bool("json", false, "print JSON")
	c.run = func(context.Context, []string) error {
		key := make([]byte, gossipKeySize)
		rand.Read(key) // never fails; see crypto/rand
		text := base64.StdEncoding.EncodeToString(key)
		if *asJSON {
			return printJSON(c.stdout, map[string]string{"gossip_key": text})
		}
		_, err := fmt.Fprintln(c.stdout, text)
		return err
	}
	return c
}
