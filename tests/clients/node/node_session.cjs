// A session of node-imap by TLS: what it saw goes to standard output, as JSON.
const Imap = require('imap')
const { readFileSync } = require('node:fs')

const [port, certificate] = process.argv.slice(2)
const client = new Imap({
  user: 'demo', password: 'demo', host: 'localhost', port: Number(port), tls: true,
  tlsOptions: { ca: readFileSync(certificate) }
})

// a method of the client as a promise of the values that it calls back with
const call = (name, ...args) => new Promise((resolve, reject) =>
  client[name](...args, (error, ...values) => error ? reject(error) : resolve(values)))

// speak: what is done when the client is logged in; gives what it saw
const session = speak => {
  let told
  client.once('ready', async () => {
    try {
      told = await speak(client, call)
      client.end()
    } catch (error) {
      console.error(error)
      process.exit(1)
    }
  })
  client.once('error', error => { console.error(error); process.exit(1) })
  client.once('close', () => console.log(JSON.stringify(told)))
  client.connect()
}

module.exports = { Imap, session }
