// node example.js BINARY [SETTING=VALUE]...: writes a key, changes it under a condition,
// finds and deletes it. The settings are those of chord-plugin agent -h.
const { Chord } = require('./chord.js');

async function main([binary, ...settings]) {
  const config = Object.fromEntries(settings.map((s) => s.split(/=(.*)/s)));
  const chord = await Chord.open(binary, config, { needs: ['transactions'], log: console.error });
  try {
    console.log(`protocol ${chord.info.protocol}: ${chord.capabilities.join(', ')}`);
    const key = Buffer.from('node/greeting'); // keys, names and values are bytes
    const { index } = await chord.call('Put', { key, value: Buffer.from('hello'), ifIndex: '0' }); // 0: no such key yet
    try {
      await chord.call('Put', { key, value: Buffer.from('again'), ifIndex: '0' });
    } catch (err) {
      console.log(`refused: ${err.code}, key ${err.key}`);
    }
    await chord.call('Put', { key, value: Buffer.from('hello, ring'), ifIndex: index });
    const { entry } = await chord.call('Get', { key }); // null if there is no such key
    console.log(`get: ${entry.value}`);
    await chord.call('Put', { key: Buffer.from('node/deep/er'), value: Buffer.from([0, 255]) });
    const chunks = await chord.call('List', { prefix: Buffer.from('node/'), separator: Buffer.from('/') });
    console.log(`list: ${chunks.flatMap((chunk) => chunk.items.map((item) => item.name)).join(' ')}`);
    await chord.call('Delete', { key });
    console.log(`deleted: ${(await chord.call('Get', { key })).entry}`);
  } finally {
    await chord.close();
  }
  console.log('closed');
}
main(process.argv.slice(2)).catch((err) => { console.error(`${err}`); process.exitCode = 1; });
