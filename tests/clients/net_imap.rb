# Ruby's Net::IMAP: what it saw, as JSON.  ruby net_imap.rb PORT CERTIFICATE
require 'json'
require 'net/imap'

port, certificate = ARGV
imap = Net::IMAP.new('localhost', port: port.to_i, ssl: { ca_file: certificate })
imap.login('demo', 'demo')
told = {}
told[:mailboxes] = imap.list('', '*').map(&:name)
imap.select('INBOX')
told[:exists] = imap.responses['EXISTS'].last
told[:subjects] = imap.fetch(1..-1, %w[ENVELOPE BODYSTRUCTURE UID]).map { |data| data.attr['ENVELOPE'].subject }
imap.append('INBOX', "Subject: by Net::IMAP\r\n\r\nbody\r\n", [:Flagged], Time.at(1_700_000_000))
told[:found] = imap.uid_search(['SUBJECT', 'Net::IMAP'])
data = imap.uid_fetch(told[:found], %w[RFC822 INTERNALDATE FLAGS]).first
told[:text] = data.attr['RFC822']
told[:flags] = data.attr['FLAGS'].map(&:to_s)
told[:sorted] = imap.sort(['DATE'], ['ALL'], 'UTF-8')
told[:threads] = imap.thread('REFERENCES', ['ALL'], 'UTF-8').length
imap.create('INBOX.' + Net::IMAP.encode_utf7("Gr\u00fc\u00dfe"))
imap.uid_move(told[:found], 'INBOX.' + Net::IMAP.encode_utf7("Gr\u00fc\u00dfe"))
told[:left] = imap.status('INBOX', ['MESSAGES'])['MESSAGES']
imap.logout
imap.disconnect
puts JSON.generate(told)
