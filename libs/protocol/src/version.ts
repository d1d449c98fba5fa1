/** Version of this software, as package.json has it; not that of the protocol. */
export const CAPSTAN_VERSION = '0.1.0';
