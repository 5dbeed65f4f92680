// imapflow: what it saw, as JSON.  node flow.mjs PORT CERTIFICATE
import { ImapFlow } from 'imapflow'
import { readFileSync } from 'node:fs'

const [port, certificate] = process.argv.slice(2)
const client = new ImapFlow({
  host: 'localhost', port: Number(port), secure: true, auth: { user: 'demo', pass: 'demo' },
  tls: { ca: readFileSync(certificate) }, logger: false
})
await client.connect()
const told = {}
told.mailboxes = (await client.list()).map(box => box.path).sort()
const lock = await client.getMailboxLock('INBOX')
told.exists = client.mailbox.exists
told.subjects = []
for await (const mail of client.fetch('1:*', { envelope: true, bodyStructure: true, size: true })) {
  told.subjects.push(mail.envelope.subject)
}
const changed = new Promise(resolve => client.once('exists', resolve))
const added = await client.append('INBOX', 'Subject: by imapflow\r\n\r\nbody\r\n', ['\\Flagged'])
told.uid = added.uid
told.count = (await changed).count
told.found = await client.search({ subject: 'imapflow' }, { uid: true })
told.source = (await client.fetchOne(String(added.uid), { source: true }, { uid: true })).source.toString()
await client.messageFlagsAdd({ subject: 'engine' }, ['\\Seen', '$Label1'])
await client.mailboxCreate('INBOX.Gr\u00fc\u00dfe')
await client.messageMove({ uid: added.uid }, 'INBOX.Gr\u00fc\u00dfe')
told.status = await client.status('INBOX.Gr\u00fc\u00dfe', { messages: true })
lock.release()
await client.logout()
console.log(JSON.stringify(told))
