// Asks Call Recording to start a recording, signed as an IAM user (AWS Signature Version 4), with Node.js alone.
const { createHash, createHmac } = require('node:crypto');

// Twilio ends a Function after 10 seconds, and the caller hears nothing meanwhile.
const PATIENCE_MS = 8000;
const FIRST_PAUSE_MS = 250;

const sha256 = (text) => createHash('sha256').update(text, 'utf8').digest('hex');
const hmac = (key, text) => createHmac('sha256', key).update(text, 'utf8').digest();
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/**
 * Returns the headers of a request, and those that sign it.
 * Source: AWS, "Create a signed AWS API request".
 */
function sign({ method, url, headers, body, accessKeyId, secretAccessKey, region, now }) {
  const { host, pathname, searchParams } = new URL(url);
  const time = now.toISOString().replace(/[-:]|\.\d{3}/g, '');
  const scope = `${time.slice(0, 8)}/${region}/execute-api/aws4_request`;
  const all = { host, 'x-amz-date': time };
  for (const [name, value] of Object.entries(headers)) all[name.toLowerCase()] = value.trim().replace(/ +/g, ' ');
  const names = Object.keys(all).sort();
  // By name, then by value: a space stands before everything that can be in a name, as `=` would not.
  const query = [...searchParams].map(([name, value]) => `${encode(name)} ${encode(value)}`).sort();
  const canonical = [
    method,
    // Encoded once more than it is sent: so do all services but S3.
    pathname.split('/').map(encode).join('/'),
    query.map((pair) => pair.replace(' ', '=')).join('&'),
    ...names.map((name) => `${name}:${all[name]}`),
    '',
    names.join(';'),
    sha256(body),
  ].join('\n');
  const key = scope.split('/').reduce(hmac, `AWS4${secretAccessKey}`);
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex');
  return {
    ...headers,
    'X-Amz-Date': time,
    Authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  };
}

/**
 * Returns the recording of a call, started with Twilio's own parameters.
 * Twilio may send its request for a Function again, and so may this: the key makes one recording of all of them.
 * Throws an Error that says why there is none, or that nobody answered in time.
 */
async function start(context, callSid, parameters) {
  const url = `${context.CONTROL_API_URL}/calls/${encodeURIComponent(callSid)}/recordings`;
  const body = JSON.stringify(parameters);
  const ends = Date.now() + PATIENCE_MS;
  for (let pause = FIRST_PAUSE_MS; ; pause *= 2) {
    let why;
    let mayHelp = true;
    const headers = sign({
      method: 'POST',
      url,
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': `${callSid}-function` },
      body,
      accessKeyId: context.CALLER_ACCESS_KEY_ID,
      secretAccessKey: context.CALLER_SECRET_ACCESS_KEY,
      region: context.CONTROL_API_REGION,
      now: new Date(),
    });
    try {
      const signal = AbortSignal.timeout(Math.max(1, ends - Date.now()));
      const answer = await fetch(url, { method: 'POST', headers, body, signal });
      if (answer.ok) return await answer.json();
      const { type, detail } = await answer.json().catch(() => ({}));
      why = new Error(`${answer.status} ${type}: ${detail}`);
      // What may go better later says when, as a start does that another request with its key still works on.
      mayHelp = answer.status >= 500 || answer.headers.has('Retry-After');
    } catch (error) {
      why = error;
    }
    if (!mayHelp || Date.now() + pause >= ends) throw why;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

module.exports = { sign, start };
