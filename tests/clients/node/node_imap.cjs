// node-imap: what it saw, as JSON.  node node_imap.cjs PORT CERTIFICATE
const { Imap, session } = require('./node_session.cjs')

session(async (client, call) => {
  const told = { subjects: [] }
  const [box] = await call('openBox', 'INBOX', false)
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
  await call('append', 'Subject: by node-imap\r\n\r\nbody\r\n', { flags: ['Seen'] });
  [told.found] = await call('search', [['SUBJECT', 'node-imap']]);
  [told.sorted] = await call('sort', ['-SUBJECT'], ['ALL']);
  [told.threads] = await call('thread', 'REFERENCES', ['ALL'])
  await call('addFlags', told.found, 'Deleted')
  await call('expunge', told.found)
  const [left] = await call('search', ['ALL'])
  told.left = left.length
  return told
})
