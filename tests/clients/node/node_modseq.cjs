// node-imap with CONDSTORE: what it saw, as JSON.  node node_modseq.cjs PORT CERTIFICATE
const Imap = require('imap')
const { readFileSync } = require('node:fs')

const [port, certificate] = process.argv.slice(2)
const client = new Imap({
  user: 'demo', password: 'demo', host: 'localhost', port: Number(port), tls: true,
  tlsOptions: { ca: readFileSync(certificate) }
})
const told = {}
const call = (object, name, ...args) => new Promise((resolve, reject) =>
  object[name](...args, (error, ...values) => error ? reject(error) : resolve(values)))
const fetched = options => new Promise((resolve, reject) => {
  const found = {}
  const fetch = client.fetch('1:*', options)
  fetch.on('message', mail => mail.once('attributes', attrs => {
    found[attrs.uid] = { flags: attrs.flags.filter(flag => flag !== '\\Recent'), modseq: attrs.modseq }
  }))
  fetch.once('error', reject)
  fetch.once('end', () => resolve(found))
})

client.once('ready', async () => {
  try {
    const [box] = await call(client, 'openBox', 'INBOX', false)
    told.highest = box.highestmodseq
    told.before = await fetched({})
    // addFlagsSince leaves out the parentheses of RFC 7162 3.1.3, and no server takes that
    await call(client, 'addFlags', 1, 'Flagged')
    told.changed = await fetched({ modifiers: { CHANGEDSINCE: told.highest } })
    const [uids] = await call(client, 'search', [['MODSEQ', told.changed[1].modseq]])
    told.found = uids
    await call(client, 'closeBox', false)
    const [status] = await call(client, 'status', 'INBOX')
    told.status = status.highestmodseq
    client.end()
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
})
client.once('error', error => { console.error(error); process.exit(1) })
client.once('close', () => console.log(JSON.stringify(told)))
client.connect()
