// imapflow with QRESYNC: what it hears of a mailbox that it knew, as JSON.
// node resync.mjs PORT CERTIFICATE [HIGHESTMODSEQ UIDVALIDITY]
import { ImapFlow } from 'imapflow'
import { readFileSync } from 'node:fs'

const [port, certificate, modseq, uidValidity] = process.argv.slice(2)
const client = new ImapFlow({
  host: 'localhost', port: Number(port), secure: true, auth: { user: 'demo', pass: 'demo' },
  tls: { ca: readFileSync(certificate) }, logger: false, qresync: true
})
const told = { gone: [], flags: {} }
client.on('expunge', event => told.gone.push([event.uid, event.vanished, event.earlier]))
client.on('flags', event => { told.flags[event.uid] = [...event.flags].sort() })
await client.connect()
told.enabled = [...client.enabled].sort()
const known = modseq ? { changedSince: modseq, uidValidity: BigInt(uidValidity) } : {}
const box = await client.mailboxOpen('INBOX', known)
told.exists = box.exists
told.modseq = String(box.highestModseq)
told.validity = String(box.uidValidity)
told.uids = await client.search({ all: true }, { uid: true })
await client.logout()
console.log(JSON.stringify(told))
