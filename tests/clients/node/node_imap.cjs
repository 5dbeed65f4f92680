// node-imap: what it saw, as JSON.  node node_imap.cjs PORT CERTIFICATE
const Imap = require('imap')
const { readFileSync } = require('node:fs')

const [port, certificate] = process.argv.slice(2)
const client = new Imap({
  user: 'demo', password: 'demo', host: 'localhost', port: Number(port), tls: true,
  tlsOptions: { ca: readFileSync(certificate) }
})
const told = { subjects: [] }
const call = (object, name, ...args) => new Promise((resolve, reject) =>
  object[name](...args, (error, value) => error ? reject(error) : resolve(value)))

client.once('ready', async () => {
  try {
    const box = await call(client, 'openBox', 'INBOX', false)
    told.total = box.messages.total
    await new Promise((resolve, reject) => {
      const fetch = client.seq.fetch('1:*', { bodies: 'HEADER.FIELDS (SUBJECT)', struct: true })
      fetch.on('message', mail => mail.on('body', stream => {
        let text = ''
        stream.on('data', data => { text += data })
        stream.once('end', () => told.subjects.push(Imap.parseHeader(text).subject[0]))
      }))
      fetch.once('error', reject)
      fetch.once('end', resolve)
    })
    await call(client, 'append', 'Subject: by node-imap\r\n\r\nbody\r\n', { flags: ['Seen'] })
    told.found = await call(client, 'search', [['SUBJECT', 'node-imap']])
    told.sorted = await call(client, 'sort', ['-SUBJECT'], ['ALL'])
    told.threads = await call(client, 'thread', 'REFERENCES', ['ALL'])
    await call(client, 'addFlags', told.found, 'Deleted')
    await call(client, 'expunge', told.found)
    told.left = (await call(client, 'search', ['ALL'])).length
    client.end()
  } catch (error) {
    console.error(error)
    process.exit(1)
  }
})
client.once('error', error => { console.error(error); process.exit(1) })
client.once('close', () => console.log(JSON.stringify(told)))
client.connect()
