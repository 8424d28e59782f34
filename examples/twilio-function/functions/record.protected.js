// Starts the recording, then connects the caller.
exports.handler = async function (context, event, callback) {
  const { start } = require(Runtime.getFunctions()['call-recording'].path);
  const twiml = new Twilio.twiml.VoiceResponse();
  try {
    const recording = await start(context, event.CallSid, { RecordingChannels: 'dual' });
    console.log(`recording ${recording.sid} of call ${event.CallSid} started`);
  } catch (error) {
    // The call goes on without a recording. If it must not, answer twiml.hangup() here.
    console.error(`no recording of call ${event.CallSid}: ${error.message}`);
  }
  twiml.dial({}, context.AGENT_NUMBER);
  callback(null, twiml);
};
