// What the test of a real server reads: one column of each type, and rows below rows.
namespace wire;

entity Orders {
  key SalesOrder     : String(10);
  SoldToParty        : String(10);
  TotalNetAmount     : Decimal(16, 3);
  Pages              : Integer;
  Big                : Integer64;
  Paid               : Boolean;
  CreationDate       : Date;
  LastChangeDateTime : Timestamp @odata.etag;
  At                 : Time;
  Ref                : UUID;
  to_Item            : Composition of many Items on to_Item.parent = $self;
}

entity Items {
  key SalesOrder     : String(10);
  key SalesOrderItem : String(6);
  parent             : Association to Orders;
  Material           : String(40);
  NetAmount          : Decimal(16, 3);
}

entity Partners {
  key ID : UUID;
  Name   : String(80);
  Credit : Decimal(24, 9);
}
