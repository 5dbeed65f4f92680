// go-imap: what it saw, as JSON.  go_imap PORT CERTIFICATE
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/emersion/go-imap"
	"github.com/emersion/go-imap/client"
)

const text = "Subject: by go-imap\r\n\r\nbody\r\n"

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A session of the account, by STARTTLS or by TLS from the start.
func connect(port string, certificate string, startTLS bool) *client.Client {
	pem, err := os.ReadFile(certificate)
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	var session *client.Client
	if startTLS {
		session, err = client.Dial("localhost:" + port)
		must(err)
		must(session.StartTLS(config))
	} else {
		session, err = client.DialTLS("localhost:"+port, config)
		must(err)
	}
	must(session.Login("demo", "demo"))
	return session
}

// Fetches by UIDs or, without any, the whole mailbox.
func fetch(session *client.Client, uids []uint32, items ...imap.FetchItem) []*imap.Message {
	set := new(imap.SeqSet)
	channel := make(chan *imap.Message, 100)
	if uids == nil {
		set.AddRange(1, 0)
		must(session.Fetch(set, items, channel))
	} else {
		set.AddNum(uids...)
		must(session.UidFetch(set, items, channel))
	}
	found := []*imap.Message{}
	for message := range channel {
		found = append(found, message)
	}
	return found
}

func append_(session *client.Client, flags ...string) {
	must(session.Append("INBOX", flags, time.Unix(1700000000, 0), strings.NewReader(text)))
}

// What IDLE tells while another session appends.
func idle(session *client.Client, other *client.Client) uint32 {
	updates := make(chan client.Update, 100)
	session.Updates = updates
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- session.Idle(stop, nil) }()
	append_(other)
	for end := time.After(30 * time.Second); ; {
		select {
		case update := <-updates:
			if told, is := update.(*client.MailboxUpdate); is && told.Mailbox.Messages == 6 {
				close(stop)
				must(<-done)
				session.Updates = nil
				return told.Mailbox.Messages
			}
		case err := <-done:
			log.Fatal("IDLE ended: ", err)
		case <-end:
			log.Fatal("IDLE tells nothing")
		}
	}
}

func main() {
	told := map[string]any{}
	session := connect(os.Args[2], os.Args[3], false)
	other := connect(os.Args[1], os.Args[3], true)
	_, err := other.Select("INBOX", true)
	must(err)

	mailboxes := make(chan *imap.MailboxInfo, 100)
	must(session.List("", "*", mailboxes))
	names := []string{}
	for mailbox := range mailboxes {
		names = append(names, mailbox.Name)
	}
	told["mailboxes"] = names
	box, err := session.Select("INBOX", false)
	must(err)
	told["exists"] = box.Messages
	subjects := []string{}
	for _, message := range fetch(session, nil, imap.FetchEnvelope, imap.FetchBodyStructure, imap.FetchUid) {
		subjects = append(subjects, message.Envelope.Subject)
	}
	told["subjects"] = subjects

	append_(session, imap.FlaggedFlag)
	criteria := imap.NewSearchCriteria()
	criteria.Header.Set("Subject", "go-imap")
	found, err := session.UidSearch(criteria)
	must(err)
	told["found"] = found
	section := &imap.BodySectionName{Peek: true}
	message := fetch(session, found, section.FetchItem(), imap.FetchInternalDate, imap.FetchFlags)[0]
	body, err := io.ReadAll(message.GetBody(section))
	must(err)
	told["text"] = string(body)
	told["date"] = message.InternalDate.Unix()
	sort.Strings(message.Flags)
	told["flags"] = message.Flags

	told["pushed"] = idle(session, other)
	target := "INBOX.Gr\u00fc\u00dfe"
	must(session.Create(target))
	set := new(imap.SeqSet)
	set.AddNum(found...)
	must(session.UidMove(set, target))
	status, err := session.Status(target, []imap.StatusItem{imap.StatusMessages, imap.StatusUidNext})
	must(err)
	told["moved"] = []uint32{status.Messages, status.UidNext}

	found, err = session.UidSearch(criteria)
	must(err)
	set = new(imap.SeqSet)
	set.AddNum(found...)
	must(session.UidStore(set, imap.FormatFlagsOp(imap.AddFlags, true), []interface{}{imap.DeletedFlag}, nil))
	gone := make(chan uint32, 100)
	must(session.Expunge(gone))
	told["gone"] = []uint32{}
	for number := range gone {
		told["gone"] = append(told["gone"].([]uint32), number)
	}
	must(session.Rename(target, "INBOX.kept"))
	must(session.Unselect())
	must(other.Logout())
	must(session.Logout())
	answer, err := json.Marshal(told)
	must(err)
	fmt.Println(string(answer))
}
