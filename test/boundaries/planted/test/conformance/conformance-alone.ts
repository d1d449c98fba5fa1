import '../../libs/protocol/src/index.js';
import '../support/builders.js';
import 'fast-check';
