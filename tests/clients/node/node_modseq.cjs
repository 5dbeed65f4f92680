// node-imap with CONDSTORE: what it saw, as JSON.  node node_modseq.cjs PORT CERTIFICATE
const { session } = require('./node_session.cjs')

session(async (client, call) => {
  const fetched = options => new Promise((resolve, reject) => {
    const found = {}
    const fetch = client.fetch('1:*', options)
    fetch.on('message', mail => mail.once('attributes', attrs => {
      found[attrs.uid] = { flags: attrs.flags.filter(flag => flag !== '\\Recent'), modseq: attrs.modseq }
    }))
    fetch.once('error', reject)
    fetch.once('end', () => resolve(found))
  })
  const told = {}
  const [box] = await call('openBox', 'INBOX', false)
  told.highest = box.highestmodseq
  told.before = await fetched({})
  // addFlagsSince leaves out the parentheses of RFC 7162 3.1.3, and no server takes that
  await call('addFlags', 1, 'Flagged')
  told.changed = await fetched({ modifiers: { CHANGEDSINCE: told.highest } });
  [told.found] = await call('search', [['MODSEQ', told.changed[1].modseq]])
  await call('closeBox', false)
  const [status] = await call('status', 'INBOX')
  told.status = status.highestmodseq
  return told
})
