// The number's voice webhook. A call that rings cannot be recorded: <Say> answers it, and what follows runs in a second
// request, while the call is in progress.
exports.handler = function (context, event, callback) {
  const twiml = new Twilio.twiml.VoiceResponse();
  twiml.say('This call is recorded.');
  twiml.redirect({ method: 'POST' }, '/record');
  callback(null, twiml);
};
