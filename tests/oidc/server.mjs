// An OpenID provider that is not ours: npm's oidc-provider on loopback, with rotation and reuse
// detection, device codes and PKCE. Whoever comes with a browser is `ada` and says yes.
//
//   node server.mjs FILE      writes its base URL to FILE once it listens; ends with its stdin
//
// GET /_test/refresh-tokens   every refresh token that was ever sent, oldest first
// GET /_test/events           grant.success, grant.error, … in order
import http from 'node:http';
import { renameSync, writeFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const grantTypes = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
const client = (more) => ({
  application_type: 'native',
  grant_types: grantTypes,
  redirect_uris: ['http://127.0.0.1/callback'],
  response_types: ['code'],
  ...more,
});

const provider = new Provider(issuer, {
  clients: [
    client({ client_id: 'public', token_endpoint_auth_method: 'none' }),
    client({ client_id: 'confidential', client_secret: 'client-secret-FAKE', token_endpoint_auth_method: 'client_secret_basic' }),
    client({ client_id: 'posting', client_secret: 'client-secret-FAKE', token_endpoint_auth_method: 'client_secret_post' }),
  ],
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
  },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.org` }) }),
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, Session: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600, IdToken: 600, DeviceCode: 600 },
  conformIdTokenClaims: false,
  scopes: ['openid', 'email', 'offline_access'],
  claims: { openid: ['sub'], email: ['email'] },
});

const events = [];
const sent = [];
for (const name of ['grant.success', 'grant.error', 'grant.revoked', 'refresh_token.consumed', 'revocation.success', 'refresh_token.destroyed']) {
  provider.on(name, () => events.push(name));
}
provider.use(async (ctx, next) => {
  await next();
  const token = ctx.oidc?.params?.refresh_token;
  if (ctx.oidc?.route === 'token' && token) sent.push(token);
});

// Logs in and consents in one go.
async function sayYes(req, res) {
  const { params, grantId } = await provider.interactionDetails(req, res);
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: 'ada', clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const result = { login: { accountId: 'ada' }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

const callback = provider.callback();
const answer = (res, value) => res.end(JSON.stringify(value));
server.on('request', (req, res) => {
  if (req.url === '/_test/events') return answer(res, events);
  if (req.url === '/_test/refresh-tokens') return answer(res, sent);
  if (req.url.startsWith('/interaction/')) {
    return sayYes(req, res).catch((error) => {
      res.statusCode = 500;
      res.end(String(error.stack));
    });
  }
  return callback(req, res);
});

const file = process.argv[2];
writeFileSync(`${file}.new`, issuer);
renameSync(`${file}.new`, file);
process.stdin.on('end', () => process.exit(0)).resume();
